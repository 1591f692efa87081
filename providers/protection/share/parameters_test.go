// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// site is a Manila, real or not, with a share.
type site struct {
	*openstack.Factory
	ctx      context.Context
	interval time.Duration
	share    resource.Resource
	discard  func(id string)
}

func TestParameters(t *testing.T) {
	t.Parallel()
	f := newManila(t)
	parameters(t, &site{
		Factory: f.Factory, ctx: openstacktest.Context(t), interval: time.Millisecond, share: home,
		discard: func(string) {},
	})
}

func TestRealParameters(t *testing.T) {
	t.Parallel()
	p := newRealProject(t)
	r := newRealShare(t, p, "home")
	parameters(t, &site{
		Factory: p.Factory, ctx: p.Context(), interval: 300 * time.Millisecond, share: r,
		discard: func(id string) { p.Delete(openstacktest.Share, id) },
	})
}

func parameters(t *testing.T, s *site) {
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {
			"snapshot_name": {Value: "nightly"},
			"description":   {Value: "of the house"},
			"force":         {Value: true},
		},
		protection.Restore: {"restore_name": {Value: "back"}},
	}, s.look)
}

func (s *site) look(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
	t.Helper()
	h, asked := plugintest.New(t), map[string]any{}
	plugin := New(poll.Config{PollInterval: s.interval}, s.Wrapped(noting(asked)))
	run := func(kind protection.Kind, parameters protection.Parameters) error {
		c := h.Call(s.share)
		c.Parameters = parameters
		h.State = &plugintest.State{}
		return h.Run(s.ctx, plugin, kind, c)
	}
	if kind == protection.Protect {
		if err := run(kind, parameters); err != nil {
			return nil, err
		}
		snapshot := s.newest(t, "snapshots")
		description, _, _ := strings.Cut(fmt.Sprint(snapshot["description"]), " [karbor ")
		shown := map[string]any{"snapshot_name": snapshot["name"], "description": description, "force": asked["force"]}
		return shown, run(protection.Delete, nil)
	}
	must(t, run(protection.Protect, nil))
	defer func() { must(t, run(protection.Delete, nil)) }()
	if err := run(kind, parameters); err != nil || kind != protection.Restore {
		return nil, err
	}
	id, _ := h.NewResources.Get(s.share.ID)
	client, err := s.Share(s.ctx)
	must(t, err)
	restored, err := openstack.Show[map[string]any](s.ctx, client, "shares", id, "share")
	must(t, err)
	s.discard(id)
	return map[string]any{"restore_name": (*restored)["name"]}, nil
}

// noting keeps what a snapshot was asked for with. Manila takes "force" and shows
// no trace of it.
func noting(asked map[string]any) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return openstacktest.Through(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/snapshots") {
				var body struct{ Snapshot map[string]any }
				if content, err := req.GetBody(); err == nil && json.NewDecoder(content).Decode(&body) == nil {
					maps.Copy(asked, body.Snapshot)
				}
			}
			return next.RoundTrip(req)
		})
	}
}

// newest returns what Manila shows of the only one of a collection.
func (s *site) newest(t testing.TB, collection string) map[string]any {
	t.Helper()
	client, err := s.Share(s.ctx)
	must(t, err)
	all, err := openstack.List[map[string]any](s.ctx, client, collection+"/detail", collection, nil)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%d %s", len(all), collection)
	}
	return all[0]
}
