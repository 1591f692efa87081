// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// Fifty volumes are protected at the same time, and waited for by listings of
// several pages.
func TestManyVolumes(t *testing.T) {
	t.Parallel()
	const volumes = 50
	c := storage.New(t)
	c.PageSize = 20
	p, ctx := New(Config{PollInterval: 20 * time.Millisecond}, c.Factory), openstacktest.Context(t)
	c.Hold() // so that all wait at the same time
	var group errgroup.Group
	for i := range volumes {
		r := resource.Resource{Type: resource.Volume, ID: fmt.Sprintf("39bf1b00-ebb7-4ffb-9069-%012d", i)}
		c.AddVolume(r.ID, "disk", nil)
		h := plugintest.New(t)
		group.Go(func() error {
			if err := h.Run(ctx, p, protection.Protect, h.Call(r)); err != nil {
				return fmt.Errorf("volume %d: %w", i, err)
			}
			return nil
		})
	}
	const listing = "GET " + openstacktest.Cinder + "/backups/detail"
	for len(c.Things(storage.Backups)) < volumes || len(c.Calls(listing)) == 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("not all backups were asked for")
		}
	}
	singles := len(c.Calls("GET " + openstacktest.Cinder + "/backups/"))
	listings := len(c.Calls(listing))
	c.Release()
	must(t, group.Wait())
	if n := len(c.Things(storage.Backups)); n != volumes {
		t.Errorf("%d backups", n)
	}
	all := len(c.Calls(""))
	t.Logf("%d calls in all; while all backups went on, %d pages and %d by itself", all, listings, singles-listings)
}
