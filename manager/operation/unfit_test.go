// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// unfitServer is a cloud whose server cannot be protected as it is.
type unfitServer struct{}

func (unfitServer) Graph(ctx context.Context, starts []resource.Resource, optional func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error) {
	var left []remark.Remark
	fit := slices.DeleteFunc(slices.Clone(starts), func(r resource.Resource) bool {
		out := r.Key() == server.Key() && optional != nil && optional(r)
		if out {
			left = append(left, remarkOn(server, "its status is ERROR"))
		}
		return out
	})
	graph, _, err := children{}.Graph(ctx, fit, nil)
	return graph, left, err
}

// The plan says what may be left out, by resource before type, and else the provider. A
// checkpoint that lacks something says so, and is copied as it is; the choice is no
// plugin's business.
func TestUnfitIsLeftOut(t *testing.T) {
	t.Parallel()
	text := func(value string) protection.Parameters {
		return protection.Parameters{providers.OnUnfit: json.RawMessage(`"` + value + `"`)}
	}
	for name, c := range map[string]struct {
		option     map[string]string
		parameters Parameters
		want       bool // the server is left out
	}{
		"nobody says so":         {nil, nil, false},
		"the provider":           {map[string]string{"": "leave_out"}, nil, true},
		"the provider, by type":  {map[string]string{resource.Volume: "leave_out"}, nil, false},
		"the plan":               {nil, Parameters{server.Type: text("leave_out")}, true},
		"the plan, the other":    {nil, Parameters{volume.Type: text("leave_out")}, false},
		"the plan, not":          {map[string]string{"": "leave_out"}, Parameters{server.Type: text("fail")}, false},
		"the plan, the resource": {nil, Parameters{server.Type: text("fail"), server.Key().String(): text("leave_out")}, true},
		"what is left out has parameters": {nil, Parameters{server.Type: text("leave_out"),
			server.Key().String(): {"x": json.RawMessage(`"y"`)}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugin := inBank(func(_ context.Context, c *protection.Call) error {
				if _, given := c.Parameters[providers.OnUnfit]; given {
					t.Errorf("the plugin gets %v", c.Parameters)
				}
				return nil
			})
			b := setup(t, plugin, nil, func(c *Config) { c.Protectables = unfitServer{} })
			p, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{plugin}, Bank: bank.New(b.bank, nil), OnUnfit: c.option})
			if err != nil {
				t.Fatal(err)
			}
			b.provider = p
			plan := planOf(volume, server)
			plan.Parameters = c.parameters
			id, err := b.engine.Protect(b.ctx, Message{}, p, plan, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.finish()
			cp := b.checkpoint(t, id)
			pairs, err := b.engine.Copy(b.ctx, Message{}, p, plan, []*checkpoint.Checkpoint{cp})
			if err != nil {
				t.Fatal(err)
			}
			b.finish()
			for _, made := range []string{id, pairs[0].Copy} {
				cp := b.checkpoint(t, made)
				packed, _ := cp.ResourceGraph()
				graph, err := resource.Unpack(packed)
				if err != nil || cp.Status() != checkpoint.Available {
					t.Fatal(cp.Status(), err)
				}
				if has := graph.Find(server.Key()) != nil; has == c.want {
					t.Errorf("%s: the checkpoint has the server: %v", made, has)
				}
				var want []remark.Remark
				if c.want {
					want = []remark.Remark{remarkOn(server, "its status is ERROR")}
				}
				if diff := cmp.Diff(want, storedRemarks(t, b, made).Remarks); diff != "" {
					t.Errorf("%s (-want +got):\n%s", made, diff)
				}
			}
		})
	}
}
