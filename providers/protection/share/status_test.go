// SPDX-License-Identifier: Apache-2.0

package share

import (
	"slices"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// A share that something else is at work on is waited for, also in statuses that
// Manila did not have when the original was written.
// manila: common/constants.py
func TestBusySharesAreWaitedFor(t *testing.T) {
	t.Parallel()
	for _, status := range []string{
		"creating", "creating_from_snapshot", "reverting", "extending", "shrinking", "migrating", "migrating_to", "server_migrating",
		"replication_change", "restoring", "backup_creating", "backup_restoring", "manage_starting", "awaiting_transfer",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			f, h := newManila(t), plugintest.New(t)
			f.Busy("shares", home.ID, status)
			must(t, h.Run(openstacktest.Context(t), plugin(f), protection.Protect, h.Call(home)))
		})
	}
}

// Manila tells of snapshots and shares how far they are.
func TestProgress(t *testing.T) {
	t.Parallel()
	f, h := newManila(t), plugintest.New(t)
	f.Progress = "30%"
	p, ctx := plugin(f), openstacktest.Context(t)
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore} {
		call := h.Call(home)
		var told []int
		call.Progress = func(percent int) { told = append(told, percent) }
		must(t, h.Run(ctx, p, kind, call))
		if !slices.Contains(told, 30) {
			t.Errorf("%s: told %v", kind, told)
		}
	}
}
