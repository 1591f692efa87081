// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

const tokenLife = 15 * time.Second

// held is a stream that stops once, after its first bytes.
type held struct {
	io.ReadCloser
	begun bool
	once  *sync.Once
	until func()
}

func (h *held) Read(b []byte) (int, error) {
	if h.begun {
		h.once.Do(h.until)
	}
	h.begun = true
	return h.ReadCloser.Read(b)
}

// holding lets the first stream of image data, to Glance or from it, wait in its
// midst.
func holding(until func()) func(http.RoundTripper) http.RoundTripper {
	once := &sync.Once{}
	return func(next http.RoundTripper) http.RoundTripper {
		return openstacktest.Through(func(req *http.Request) (*http.Response, error) {
			data := strings.HasSuffix(req.URL.Path, "/file")
			if data && req.Method == http.MethodPut {
				req = req.Clone(req.Context())
				req.Body = &held{ReadCloser: req.Body, once: once, until: until}
			}
			resp, err := next.RoundTrip(req)
			if err == nil && data && req.Method == http.MethodGet {
				resp.Body = &held{ReadCloser: resp.Body, once: once, until: until}
			}
			return resp, err
		})
	}
}

// TestRealTokenEnds lets the caller's token end in the midst of a download from a
// real Glance, and of an upload. The service's own token carries the operations
// on; without it a restore says why it ended, and what it could not remove.
func TestRealTokenEnds(t *testing.T) {
	t.Parallel()
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_GLANCE")
	data := openstacktest.Noise(8 << 20)
	r := resource.Resource{Type: resource.Image, ID: p.UploadImage("disk", data), Name: "disk"}
	before, h := p.Inventory(), plugintest.New(t)
	brief := func(kind protection.Kind, clients func(holding func(http.RoundTripper) http.RoundTripper) Clients) error {
		t.Helper()
		caller, end := p.BriefCaller(tokenLife)
		h.State = &plugintest.State{}
		plugin := New(Config{Config: poll.Config{PollInterval: 300 * time.Millisecond}, ObjectSize: 16 * pieceSize}, clients(holding(end)))
		return h.Run(requestcontext.New(t.Context(), caller), plugin, kind, h.Call(r))
	}
	service := func(wrap func(http.RoundTripper) http.RoundTripper) Clients { return p.Wrapped(wrap) }
	alone := func(wrap func(http.RoundTripper) http.RoundTripper) Clients { return p.Alone().Wrapped(wrap) }

	must(t, brief(protection.Protect, service))
	must(t, brief(protection.Restore, service))
	restored, _ := h.NewResources.Get(r.ID)
	if !bytes.Equal(p.DownloadImage(restored), data) {
		t.Error("other bytes came back")
	}
	p.Delete(openstacktest.Image, restored)

	err := brief(protection.Restore, alone)
	if !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), "the token of the request at glance") {
		t.Errorf("got %v", err)
	}
	operation, operationErr := New(Config{Config: poll.Config{PollInterval: time.Second}, ObjectSize: 16 * pieceSize}, p.Factory).Operation(protection.Restore, r)
	must(t, operationErr)
	must(t, operation.Undo(p.Context(), h.Call(r)))
	if diff := cmp.Diff(before, p.Inventory()); diff != "" {
		t.Errorf("the project holds something else (-before +after):\n%s", diff)
	}
}
