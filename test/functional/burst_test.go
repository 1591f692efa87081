// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestBurstOfAProject has one project ask for much at once, as at the hour of a nightly
// backup: nothing is refused, and the listings are answered beside the protections.
func TestBurstOfAProject(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.fsProvider(t.TempDir(), noop)
	s.started("worker")
	a := s.api(stranger())
	ids := make([]string, 64)
	var burst errgroup.Group
	for i := range ids {
		burst.Go(func() error { return a.try("protect", a.protectArgs(a.plan(p.id, something())), &ids[i]) })
		burst.Go(func() error {
			return a.try("list_checkpoints", map[string]any{"provider_id": p.id, "marker": nil, "limit": nil, "sort_keys": nil, "sort_dirs": nil,
				"filters": nil}, nil)
		})
	}
	must(t, burst.Wait())
	for _, id := range ids {
		if status := a.settled(a.plan(p.id), id); status != "available" {
			t.Errorf("checkpoint %s is %s", id, status)
		}
	}
}
