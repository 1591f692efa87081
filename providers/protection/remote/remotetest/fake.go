// SPDX-License-Identifier: Apache-2.0

// Package remotetest is a service for tests that keeps things of some kinds. Their status
// changes after a few looks, and requests that the real service refuses are refused.
package remotetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Thing is one of a kind. Its fields are for reading between the calls of a plugin.
type Thing struct {
	ID, Status string
	Fields     map[string]any // the rest of what the service tells, but for the status
	Data       string         // what it holds, which the service does not tell

	looks int    // till it changes
	next  string // the status then; "" is gone
}

// Field returns one of Fields as a text.
func (t *Thing) Field(name string) string {
	text, _ := t.Fields[name].(string)
	return text
}

// Refusal is an answer with an error.
type Refusal struct {
	Code    int
	Message string
}

// Kind says how the service treats things of a kind.
type Kind struct {
	Path           string // "/manila/<project>/snapshots"
	Listing        string // what the path of the listing ends with, "/detail"
	Name, Member   string
	Filters        []string // of the listing
	PageSize       int      // 0: all in one
	Code           int      // of the answer to a creation
	Making, Whole  string   // statuses of a new one: at first, and then
	Failed         string   // instead of Whole after Fake.Fail
	Going          string   // status while it is deleted, "" leaves it as it is
	Deletable      []string // statuses
	Undeletable    int      // code of the answer in other statuses
	Create, Change func(f *Fake, t *Thing) *Refusal
	ChangeMethod   string
}

// Fake is the service.
type Fake struct {
	*openstacktest.Cloud
	// Looks is how many looks at something see it on its way; 2 by default.
	Looks int
	// Progress is what a new thing tells till it is made, "" is nothing.
	Progress string

	mu      sync.Mutex
	things  map[string][]*Thing // the oldest first
	fails   map[string]bool
	refuses map[string]Refusal
}

// New starts a service that ends with the test.
func New(t testing.TB, kinds ...Kind) *Fake {
	t.Helper()
	f := &Fake{
		Cloud: openstacktest.New(t), Looks: 2,
		things: map[string][]*Thing{}, fails: map[string]bool{}, refuses: map[string]Refusal{},
	}
	for _, k := range kinds {
		f.handle("GET "+k.Path+k.Listing, func(w http.ResponseWriter, r *http.Request) { f.list(w, r, k) })
		f.handle("GET "+k.Path+"/{id}", func(w http.ResponseWriter, r *http.Request) { f.show(w, r, k) })
		f.handle("DELETE "+k.Path+"/{id}", func(w http.ResponseWriter, r *http.Request) { f.remove(w, r, k) })
		f.handle("POST "+k.Path, func(w http.ResponseWriter, r *http.Request) { f.create(w, r, k) })
		if k.Change != nil {
			f.handle(k.ChangeMethod+" "+k.Path+"/{id}", func(w http.ResponseWriter, r *http.Request) { f.change(w, r, k) })
		}
	}
	return f
}

// Add puts something there as it is.
func (f *Fake) Add(kind string, t *Thing) *Thing {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.things[kind] = append(f.things[kind], t)
	return t
}

// Busy puts something into a status that ends after a few looks.
func (f *Fake) Busy(kind, id, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.Find(kind, id)
	t.next, t.Status, t.looks = t.Status, status, f.Looks
}

// Things returns all of a kind.
func (f *Fake) Things(kind string) []*Thing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.things[kind])
}

// Find returns a thing, nil if it is not there. It is for Create and Change.
func (f *Fake) Find(kind, id string) *Thing {
	for _, t := range f.things[kind] {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// Fail lets all new things of a kind end in its status for that.
func (f *Fake) Fail(kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[kind] = true
}

// Refuse answers all calls with a method and the end of a path, such as "POST
// /backups", with an error.
func (f *Fake) Refuse(call string, code int, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses[call] = Refusal{code, message}
}

// Allow ends what Refuse began.
func (f *Fake) Allow(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.refuses, call)
}

// Inventory names all that is there, with status and data.
func (f *Fake) Inventory(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var there []string
	for kind, things := range f.things {
		for _, t := range things {
			there = append(there, fmt.Sprintf("%s %q %s %q", kind, t.Field("name"), t.Status, t.Data))
		}
	}
	return there, nil
}

func (f *Fake) handle(pattern string, h http.HandlerFunc) {
	f.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for call, refused := range f.refuses {
			method, end, _ := strings.Cut(call, " ")
			if r.Method == method && strings.HasSuffix(r.URL.Path, end) {
				refuse(w, refused)
				return
			}
		}
		h(w, r)
	})
}

// look is one look at a thing. It tells whether the thing is there.
func (f *Fake) look(kind string, t *Thing) bool {
	if t.looks == 0 {
		return true
	}
	if t.looks--; t.looks > 0 {
		return true
	}
	if t.Status = t.next; t.Status != "" {
		return true
	}
	f.things[kind] = slices.DeleteFunc(f.things[kind], func(other *Thing) bool { return other == t })
	return false
}

func (f *Fake) view(t *Thing) map[string]any {
	v := map[string]any{"id": t.ID, "status": t.Status}
	for name, value := range t.Fields {
		v[name] = value
	}
	if f.Progress != "" && t.looks > 0 {
		v["progress"] = f.Progress
	}
	return v
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, r Refusal) {
	answer(w, r.Code, map[string]any{"fault": map[string]any{"code": r.Code, "message": r.Message}})
}

func newID() string { return uuid.NewString() }
