// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
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
	*remote.Request
	cloud *storage.Cloud
	ctx   context.Context
	saved *saved
}

// saved keeps all states that were saved.
type saved struct{ states []remote.Created }

// Load implements protection.State.
func (s *saved) Load(context.Context) (json.RawMessage, error) { return nil, nil }

// Save implements protection.State.
func (s *saved) Save(_ context.Context, document json.RawMessage) error {
	var state remote.Created
	err := json.Unmarshal(document, &state)
	s.states = append(s.states, state)
	return err
}

func newBench(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) *bench {
	t.Helper()
	b := &bench{cloud: storage.New(t), ctx: openstacktest.Context(t), saved: &saved{}}
	b.cloud.AddVolume(disk.ID, "disk", []byte("data"))
	clients := b.cloud.Factory
	if wrap != nil {
		clients = clients.Wrapped(wrap)
	}
	call := plugintest.New(t).Call(disk)
	call.State = b.saved
	created := &remote.Created{}
	s, err := remote.NewClient(poll.Config{PollInterval: time.Millisecond}, clients.BlockStorage).Begin(b.ctx, call, created)
	must(t, err)
	b.Request = volume.Copy(s, volume.Snapshots, created)
	return b
}

// arrive puts a snapshot there that an earlier run has asked for.
func (b *bench) arrive(id string) {
	b.cloud.Add(storage.Snapshots, &storage.Thing{ID: id, Status: "available", Size: 1, VolumeID: disk.ID, Metadata: b.Marks})
}

func TestCreateOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for range 2 {
		must(t, b.Create(b.ctx))
	}
	if n := len(b.cloud.Things(storage.Snapshots)); n != 1 || b.Created.Size != 1 || b.Created.Uncertain {
		t.Errorf("%d snapshots, %+v", n, b.Created)
	}
	if len(b.saved.states) != 2 || !b.saved.states[0].Asked || b.saved.states[0].ID != "" {
		t.Errorf("saved %+v: what is asked for is to be saved before", b.saved.states)
	}
	if n := len(b.cloud.Calls("GET ")); n != 0 {
		t.Errorf("%d calls to look for what cannot be there", n)
	}
	must(t, b.AwaitReady(b.ctx, nil))
	must(t, b.Remove(b.ctx))
	if n := len(b.cloud.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
}

func TestCreateFindsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Created.Asked = true
	b.arrive("earlier")
	b.cloud.Add(storage.Snapshots, &storage.Thing{ID: "stranger", Status: "available", VolumeID: disk.ID})
	must(t, b.Create(b.ctx))
	if b.Created.ID != "earlier" || len(b.cloud.Calls("POST ")) != 0 {
		t.Errorf("made %+v", b.Created)
	}
	must(t, b.DeleteMatching(b.ctx))
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

func TestCreateFindsWhatComesLate(t *testing.T) {
	t.Parallel()
	var b *bench
	b = newBench(t, func(next http.RoundTripper) http.RoundTripper { return late{next, func() { b.arrive("earlier") }} })
	b.Created.Asked = true
	b.cloud.Refuse("POST /snapshots", http.StatusBadRequest, "busy")
	must(t, b.Create(b.ctx))
	if b.Created.ID != "earlier" {
		t.Errorf("made %+v", b.Created)
	}
}

func TestDuplicatesAreDeleted(t *testing.T) {
	t.Parallel()
	var b *bench
	b = newBench(t, func(next http.RoundTripper) http.RoundTripper { return late{next, func() { b.arrive("earlier") }} })
	b.Created.Asked = true
	must(t, b.Create(b.ctx))
	must(t, b.AwaitReady(b.ctx, nil))
	must(t, b.DeleteDuplicates(b.ctx))
	if left := b.cloud.Things(storage.Snapshots); len(left) != 1 || left[0].ID != b.Created.ID {
		t.Errorf("%d snapshots are left, made %+v", len(left), b.Created)
	}
}

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.cloud.Refuse("POST /snapshots", http.StatusForbidden, "no")
	err := b.Create(b.ctx)
	if err == nil || hook.Reason(err) != "no (HTTP 403)" {
		t.Errorf("got %v", err)
	}
	must(t, b.Remove(b.ctx))
}

func TestDeleteWaitsForWhatIsBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	must(t, b.Create(b.ctx)) // it is being created
	must(t, b.Delete(b.ctx, volume.Snapshots, b.Created.ID))
	if n := len(b.cloud.Things(storage.Snapshots)); n != 0 {
		t.Errorf("%d snapshots are left", n)
	}
	must(t, b.Delete(b.ctx, volume.Snapshots, b.Created.ID)) // gone is as good
}
