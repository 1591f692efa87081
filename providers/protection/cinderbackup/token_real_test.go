// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/volume/volumetest"
)

// afterCall runs what is to happen once a call of that kind was answered, the first
// time.
func afterCall(suffix string, happen func()) func(http.RoundTripper) http.RoundTripper {
	var once sync.Once
	return func(next http.RoundTripper) http.RoundTripper {
		return openstacktest.Through(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil && req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, suffix) {
				once.Do(happen)
			}
			return resp, err
		})
	}
}

// TestRealTokenEnds lets the caller's token end once Cinder has made a backup, and
// once it has restored one: it reads and writes Swift with the same token. The
// service's own token carries the operations on. Without that an operation ends,
// and says why and what it could not remove; the deletion of the checkpoint, with a
// token that is good, leaves nothing.
func TestRealTokenEnds(t *testing.T) {
	t.Parallel()
	p := volumetest.NewProject(t)
	id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "source"})
	p.WriteVolume(id, 0, openstacktest.Noise(1<<20))
	want, before := p.ReadVolume(id), p.Holdings()
	h, r := plugintest.New(t), resource.Resource{Type: resource.Volume, ID: id, Name: "source"}

	// A token has to live until Cinder is done, whatever machine this is.
	began := time.Now()
	must(t, h.Run(p.Context(), realPlugin(false)(p), protection.Protect, h.Call(r)))
	life := 3*time.Since(began) + 15*time.Second
	must(t, h.Run(p.Context(), realPlugin(false)(p), protection.Delete, h.Call(r)))

	run := func(kind protection.Kind, call string, clients *openstack.Factory) error {
		t.Helper()
		caller, end := p.BriefCaller(life)
		h.State = &plugintest.State{}
		plugin := New(Config{Config: poll.Config{PollInterval: 300 * time.Millisecond}}, clients.Wrapped(afterCall(call, func() {
			p.Await(openstacktest.VolumeBackup, p.Only(openstacktest.VolumeBackup), "available")
			end()
		})))
		return h.Run(requestcontext.New(t.Context(), caller), plugin, kind, h.Call(r))
	}
	must(t, run(protection.Protect, "/backups", p.Factory))
	must(t, run(protection.Restore, "/restore", p.Factory))
	restored, _ := h.NewResources.Get(id)
	if !bytes.Equal(p.ReadVolume(restored), want) {
		t.Error("other bytes came back")
	}
	p.Delete(openstacktest.Volume, restored)
	must(t, h.Run(p.Context(), realPlugin(false)(p), protection.Delete, h.Call(r)))

	err := run(protection.Protect, "/backups", p.Alone())
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "the token of the request at cinder") || !strings.Contains(err.Error(), "left behind") {
		t.Errorf("got %v", err)
	}
	must(t, h.Run(p.Context(), realPlugin(false)(p), protection.Delete, h.Call(r)))
	if diff := cmp.Diff(before, p.Holdings()); diff != "" {
		t.Errorf("the project holds something else (-before +after):\n%s", diff)
	}
}
