// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
)

// Witness sees what a service says of things that do not outlive an operation. Its
// transport goes between a plugin and the service.
type Witness struct {
	mu   sync.Mutex
	seen map[string]map[string]any // by collection
}

// Transport is what openstack.Factory.Wrapped wants.
func (w *Witness) Transport(next http.RoundTripper) http.RoundTripper {
	return through(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err != nil || resp.Header.Get("Content-Type") == "application/octet-stream" {
			return resp, err // the data of an image
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(text))
		w.note(req, text)
		return resp, nil
	})
}

// note keeps the answer to a request that makes or shows one thing.
func (w *Witness) note(req *http.Request, answer []byte) {
	collection := path.Base(req.URL.Path)
	if req.Method == http.MethodGet {
		collection = path.Base(path.Dir(req.URL.Path))
	}
	var thing map[string]any
	if json.Unmarshal(answer, &thing) != nil {
		return
	}
	if inner, ok := thing[strings.TrimSuffix(collection, "s")].(map[string]any); ok {
		thing = inner
	}
	if thing["id"] == nil && thing["job_id"] == nil {
		return // a listing
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[string]map[string]any{}
	}
	w.seen[collection] = thing
}

// Seen returns the last thing of a collection, such as "snapshots", that was made
// or shown, and forgets it.
func (w *Witness) Seen(collection string) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	thing := w.seen[collection]
	delete(w.seen, collection)
	return thing
}

type through func(req *http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f through) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
