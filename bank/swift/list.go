// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/bank"
)

// List implements bank.Plugin. It requests pages until it has enough keys; a limit bounds both the
// keys in memory and the keys requested. A missing container counts as empty.
//
// Swift: api/pagination; "reverse" reverses the order and the marker.
func (s *store) List(ctx context.Context, o bank.ListOptions) ([]string, error) {
	keys := []string{}
	for {
		want := s.page
		if o.Limit > 0 {
			want = min(want, o.Limit-len(keys))
		}
		page, full, err := s.listPage(ctx, o, want)
		if errors.Is(err, bank.ErrNotFound) {
			if len(keys) == 0 {
				return keys, nil
			}
			err = fmt.Errorf("the container is gone after %d keys: %v", len(keys), err)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, page...)
		if !full || len(page) == 0 || o.Limit > 0 && len(keys) >= o.Limit {
			return keys, nil
		}
		o.Marker = page[len(page)-1]
	}
}

// listPage returns at most want keys, and whether more may follow.
func (s *store) listPage(ctx context.Context, o bank.ListOptions, want int) (page []string, full bool, err error) {
	r := request{
		method: http.MethodGet,
		path:   containerPath(s.container),
		query:  url.Values{"prefix": {o.Prefix}, "limit": {strconv.Itoa(want)}},
		// Plain text, one name per line, is a fifth of the size of JSON.
		header: map[string]string{"Accept": "text/plain"},
	}
	if o.Marker != "" {
		r.query.Set("marker", o.Marker)
	}
	if o.Descending {
		r.query.Set("reverse", "on")
	}
	if o.Delimiter != "" {
		r.query.Set("delimiter", o.Delimiter)
	}
	if o.Versions != nil {
		r.query.Set("format", "json")
	}
	if err := s.requests.take(ctx); err != nil {
		return nil, false, s.session.failed(r, err)
	}
	defer s.requests.put()
	for attempt := 0; ; attempt++ {
		res, err := s.session.do(ctx, r, s.retries)
		if isStatus(err, http.StatusPreconditionFailed) && r.query.Has("limit") {
			// The operator of this Swift allows only shorter pages. Accept the pages as they come,
			// until one is empty.
			r.query.Del("limit")
			continue
		}
		if err != nil {
			return nil, false, err
		}
		page, err = entries(res, o.Versions)
		res.finish()
		if err == nil && !ordered(page, o) && r.query.Get("format") == "" {
			// A name contains line feeds.
			r.query.Set("format", "json")
			continue
		}
		switch {
		case err == nil && !r.query.Has("limit"):
			return page[:min(len(page), want)], true, nil
		case err == nil:
			return page, len(page) >= want, nil
		case ctx.Err() != nil:
			return nil, false, s.session.failed(r, context.Cause(ctx))
		case attempt >= s.retries:
			return nil, false, s.session.failed(r, err)
		}
	}
}

// ordered reports whether names match the request and each follows the one before.
func ordered(names []string, o bank.ListOptions) bool {
	last := o.Marker
	for _, name := range names {
		follows := last == "" || o.Descending && name < last || !o.Descending && name > last
		if !follows || !strings.HasPrefix(name, o.Prefix) {
			return false
		}
		last = name
	}
	return true
}

// entries reads a listing in plain text, or in JSON, which also has the objects' ETags as hashes. A
// listing that breaks off is an error, never a short page.
//
// Swift: container/server.py update_object_record
func entries(res *response, versions map[string]string) ([]string, error) {
	if res.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	body := &countingReader{from: res}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("listing broke off: %w", err)
	}
	if res.ContentLength >= 0 && body.n != res.ContentLength {
		return nil, fmt.Errorf("listing broke off after %d of %d bytes", body.n, res.ContentLength)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		var objects []struct {
			Name   string `json:"name"`
			Subdir string `json:"subdir"` // keys that the delimiter combined
			Hash   string `json:"hash"`
		}
		err := json.Unmarshal(text, &objects)
		names := make([]string, len(objects))
		for i, o := range objects {
			if names[i] = o.Name + o.Subdir; o.Hash != "" && versions != nil {
				versions[o.Name] = o.Hash
			}
		}
		return names, err
	}
	return slices.Collect(func(yield func(string) bool) {
		for line := range strings.Lines(string(text)) {
			if !yield(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}), nil
}

// countingReader counts the bytes that are read from a response.
type countingReader struct {
	from *response
	n    int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.from.watch.touch()
	n, err := r.from.Body.Read(p)
	r.n += int64(n)
	return n, err
}

var _ io.Reader = (*countingReader)(nil)
