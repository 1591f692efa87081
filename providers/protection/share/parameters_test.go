// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// site is a Manila, real or not, with a share.
type site struct {
	*openstack.Factory
	ctx      context.Context
	interval time.Duration
	share    resource.Resource
	become   func(status string) // of the share
	discard  func(id string)
}

func TestParameters(t *testing.T) {
	t.Parallel()
	f := newManila(t)
	parameters(t, &site{
		Factory: f.Factory, ctx: openstacktest.Context(t), interval: time.Millisecond, share: home,
		become:  func(status string) { f.Find("shares", home.ID).Status = status },
		discard: func(string) {},
	})
}

func TestRealParameters(t *testing.T) {
	t.Parallel()
	p := newRealProject(t)
	r := newRealShare(t, p, "home")
	parameters(t, &site{
		Factory: p.Factory, ctx: p.Context(), interval: 300 * time.Millisecond, share: r,
		become:  func(status string) { p.Declare(openstacktest.Share, r.ID, status) },
		discard: func(id string) { p.Delete(openstacktest.Share, id) },
	})
}

func parameters(t *testing.T, s *site) {
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {
			"snapshot_name": {Value: "nightly"},
			"description":   {Value: "of the house"},
			"force":         {Value: true}, // the share is in error
		},
		protection.Restore: {"restore_name": {Value: "back"}},
	}, s.look)
}

func (s *site) look(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
	t.Helper()
	h, plugin := plugintest.New(t), New(Config{PollInterval: s.interval}, s.Factory)
	run := func(kind protection.Kind, parameters protection.Parameters) error {
		c := h.Call(s.share)
		c.Parameters = parameters
		h.State = &plugintest.State{}
		return h.Run(s.ctx, plugin, kind, c)
	}
	if kind == protection.Protect {
		s.become("error")
		err := run(kind, parameters)
		s.become("available")
		if err != nil {
			return nil, err
		}
		snapshot := s.newest(t, "snapshots")
		description, _, _ := strings.Cut(fmt.Sprint(snapshot["description"]), " [karbor ")
		shown := map[string]any{"snapshot_name": snapshot["name"], "description": description, "force": true}
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
