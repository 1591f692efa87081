// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// fakeVault is Vault for tests. Something is busy for two looks.
type fakeVault struct {
	url    string
	broken bool // what is made from now on breaks

	mu     sync.Mutex
	things map[string]*thing // by "copies/ID"
}

type thing struct {
	item
	looks  int
	going  bool
	fields map[string]string
}

func newFake(t testing.TB) *fakeVault {
	f := &fakeVault{things: map[string]*thing{}}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/{collection}/{id}", f.put)
	mux.HandleFunc("GET /v1/{collection}/{id}", f.get)
	mux.HandleFunc("DELETE /v1/{collection}/{id}", f.remove)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		server.Close()
	})
	f.url = server.URL
	return f
}

// Inventory implements plugintest.Service. It names no ids that are made up.
func (f *fakeVault) Inventory(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := []string{}
	for _, t := range f.things {
		there = append(there, fmt.Sprintf("%s %s %s %s", t.fields["volume"], t.fields["tier"], t.fields["name"], t.Status))
	}
	return there, nil
}

func key(r *http.Request) string { return r.PathValue("collection") + "/" + r.PathValue("id") }

func (f *fakeVault) put(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer secret" {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	if f.things[key(r)] != nil {
		return // a PUT may be repeated
	}
	t := &thing{item: item{Status: "busy"}, looks: 2, fields: map[string]string{}}
	if err := json.NewDecoder(r.Body).Decode(&t.fields); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if copied := t.fields["copy"]; copied != "" && f.things["copies/"+copied] == nil {
		http.Error(w, "there is no such copy", http.StatusUnprocessableEntity)
		return
	}
	f.things[key(r)] = t
}

func (f *fakeVault) get(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.things[key(r)]
	if t == nil {
		http.NotFound(w, r)
		return
	}
	if t.looks--; t.looks <= 0 {
		switch {
		case t.going:
			delete(f.things, key(r))
			http.NotFound(w, r)
			return
		case f.broken:
			t.Status = "broken"
		default:
			t.Status, t.Percent = "ready", 100
		}
	}
	_ = json.NewEncoder(w).Encode(t.item)
}

func (f *fakeVault) remove(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.things[key(r)]
	if t == nil {
		http.NotFound(w, r)
		return
	}
	t.going, t.looks = true, 2
	w.WriteHeader(http.StatusAccepted)
}
