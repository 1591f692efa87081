// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Fifty volumes are protected at the same time, and waited for by listings of
// several pages.
func TestManyVolumes(t *testing.T) {
	t.Parallel()
	const volumes = 50
	c := storage.New(t)
	c.PageSize = 20
	p, ctx := New(Config{Config: poll.Config{PollInterval: 20 * time.Millisecond}}, c.Factory), openstacktest.Context(t)
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

// late lets each call take a while longer, as the way to a real service does.
type late struct {
	by   time.Duration
	next http.RoundTripper
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(l.by) // what is measured, not a wait for anything
	return l.next.RoundTrip(r)
}

// BenchmarkProtect protects fifty volumes at a time, in a cloud whose every answer
// takes 5 ms. Snapshots, backups and deletions have ended at the second look; one
// looks each second. The metrics original are the arithmetic of the original with
// the same looks: it asks for each volume by itself, and waits before it looks.
func BenchmarkProtect(b *testing.B) {
	const volumes, interval = 50, time.Second
	// Calls for one volume: a snapshot made, looked at twice; the volume looked at;
	// a backup made, looked at twice; the snapshot deleted, looked at twice.
	const calls, looks = 10, 7
	for b.Loop() {
		c := storage.New(b)
		factory := c.Wrapped(func(next http.RoundTripper) http.RoundTripper { return late{5 * time.Millisecond, next} })
		p, ctx := New(Config{Config: poll.Config{PollInterval: interval}, FromSnapshot: true}, factory), openstacktest.Context(b)
		var group errgroup.Group
		for i := range volumes {
			r := resource.Resource{Type: resource.Volume, ID: fmt.Sprintf("39bf1b00-ebb7-4ffb-9069-%012d", i)}
			c.AddVolume(r.ID, "disk", nil)
			h := plugintest.New(b)
			group.Go(func() error { return h.Run(ctx, p, protection.Protect, h.Call(r)) })
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		if n := len(c.Things(storage.Backups)); n != volumes {
			b.Fatalf("%d backups", n)
		}
		b.ReportMetric(float64(len(c.Calls("")))/volumes, "calls/volume")
	}
	b.ReportMetric(calls, "original-calls/volume")
	b.ReportMetric(float64(looks*interval/time.Second), "original-s")
}
