// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var disk = resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bench is a snapshot to be made, in a cloud with one volume.
type bench struct {
	*remote.Service
	cloud *storage.Cloud
	ctx   context.Context
	call  *protection.Call
	made  remote.Made
	saved []remote.Made
}

func newBench(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) *bench {
	t.Helper()
	b := &bench{cloud: storage.New(t), ctx: openstacktest.Context(t), call: plugintest.New(t).Call(disk)}
	b.cloud.AddVolume(disk.ID, "disk", []byte("data"))
	clients := b.cloud.Factory
	if wrap != nil {
		clients = clients.Wrapped(wrap)
	}
	var err error
	b.Service, err = remote.NewGate(clients.BlockStorage, time.Millisecond, 0).For(b.ctx)
	must(t, err)
	return b
}

func (b *bench) order() remote.Order {
	o := volume.Of(b.call, volume.Snapshots)
	o.Body = map[string]any{"volume_id": disk.ID}
	o.Made, o.Save = &b.made, func() error { b.saved = append(b.saved, b.made); return nil }
	return o
}

// arrive puts a snapshot there that an earlier run has asked for.
func (b *bench) arrive(id string) {
	b.cloud.Add(storage.Snapshots, &storage.Thing{ID: id, Status: "available", Size: 1, VolumeID: disk.ID, Metadata: remote.MarksOf(b.call)})
}

func TestMakeOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for range 2 {
		must(t, b.Make(b.ctx, b.call, b.order()))
	}
	if n := len(b.cloud.Things(storage.Snapshots)); n != 1 || b.made.Size != 1 || b.made.Doubt {
		t.Errorf("%d snapshots, %+v", n, b.made)
	}
	if len(b.saved) != 2 || !b.saved[0].Asked || b.saved[0].ID != "" {
		t.Errorf("saved %+v: what is asked for is to be saved before", b.saved)
	}
	if n := len(b.cloud.Calls("GET ")); n != 0 {
		t.Errorf("%d calls to look for what cannot be there", n)
	}
	must(t, b.Await(b.ctx, volume.Snapshots, b.made.ID, volume.Taken, nil))
	must(t, b.Remove(b.ctx, b.call, b.order()))
	if n := len(b.cloud.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

func TestMakeFindsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.made.Asked = true
	b.arrive("earlier")
	b.cloud.Add(storage.Snapshots, &storage.Thing{ID: "stranger", Status: "available", VolumeID: disk.ID})
	must(t, b.Make(b.ctx, b.call, b.order()))
	if b.made.ID != "earlier" || len(b.cloud.Calls("POST ")) != 0 {
		t.Errorf("made %+v", b.made)
	}
	must(t, b.Sweep(b.ctx, b.order()))
	if left := b.cloud.Things(storage.Snapshots); len(left) != 1 || left[0].ID != "stranger" {
		t.Errorf("%d snapshots are left", len(left))
	}
}

// late lets a snapshot of an earlier run arrive at the moment at which another one
// is asked for.
type late struct {
	next   http.RoundTripper
	arrive func()
}

func (l late) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		l.arrive()
	}
	return l.next.RoundTrip(r)
}

func TestMakeFindsWhatComesLate(t *testing.T) {
	t.Parallel()
	var b *bench
	b = newBench(t, func(next http.RoundTripper) http.RoundTripper { return late{next, func() { b.arrive("earlier") }} })
	b.made.Asked = true
	b.cloud.Refuse("POST /snapshots", http.StatusBadRequest, "busy")
	must(t, b.Make(b.ctx, b.call, b.order()))
	if b.made.ID != "earlier" {
		t.Errorf("made %+v", b.made)
	}
}

func TestSpareIsRemoved(t *testing.T) {
	t.Parallel()
	var b *bench
	b = newBench(t, func(next http.RoundTripper) http.RoundTripper { return late{next, func() { b.arrive("earlier") }} })
	b.made.Asked = true
	must(t, b.Make(b.ctx, b.call, b.order()))
	must(t, b.Await(b.ctx, volume.Snapshots, b.made.ID, volume.Taken, nil))
	must(t, b.Spare(b.ctx, b.order()))
	if left := b.cloud.Things(storage.Snapshots); len(left) != 1 || left[0].ID != b.made.ID {
		t.Errorf("%d snapshots are left, made %+v", len(left), b.made)
	}
}

func TestMakeIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.cloud.Refuse("POST /snapshots", http.StatusForbidden, "no")
	err := b.Make(b.ctx, b.call, b.order())
	if err == nil || hook.Reason(err) != "no (HTTP 403)" {
		t.Errorf("got %v", err)
	}
	must(t, b.Remove(b.ctx, b.call, b.order()))
}

func TestDeleteWaitsForWhatIsBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	must(t, b.Make(b.ctx, b.call, b.order())) // it is being created
	must(t, b.Delete(b.ctx, volume.Snapshots, b.made.ID))
	if n := len(b.cloud.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
	must(t, b.Delete(b.ctx, volume.Snapshots, b.made.ID)) // gone is as good
}
