// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/nettest"
)

// fake is as much of Keystone and Swift as the bank uses.
type fake struct {
	*httptest.Server
	pageLimit int // of a listing
	// hash is that of an object in a listing: its ETag, where the container server does not
	// lag behind.
	hash func(name string, o fakeObject) string

	mu         sync.Mutex
	containers map[string]map[string]fakeObject
	tokens     int // issued; only the last one is good
	requests   []string
	faults     []fault
	lasting    *fault // of every request that matches
	now        time.Time
}

type fakeObject struct {
	body    []byte
	header  http.Header
	expires time.Time
}

// fault is what happens to the next request that matches. It returns true when
// it has answered.
type fault struct {
	match func(*http.Request) bool
	do    func(http.ResponseWriter, *http.Request) bool
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := emptyFake()
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// newFakeInMemory is a fake for tests with fake time.
func newFakeInMemory(t *testing.T) (*fake, *nettest.Listener) {
	t.Helper()
	f := emptyFake()
	var network *nettest.Listener
	f.Server, network = nettest.Serve(t, f)
	return f, network
}

func emptyFake() *fake {
	return &fake{
		pageLimit: 10000, containers: map[string]map[string]fakeObject{}, now: time.Unix(1_800_000_000, 0),
		hash: func(_ string, o fakeObject) string { return etag(o.body) },
	}
}

// fail queues a fault for requests of a method and, when it is not empty, with
// part in their path.
func (f *fake) fail(times int, method, part string, do func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range times {
		f.faults = append(f.faults, fault{
			match: func(r *http.Request) bool {
				return r.Method == method && strings.Contains(r.URL.EscapedPath(), part)
			},
			do: do,
		})
	}
}

// last makes requests with part in their path, of any method, end in a fault until
// undo.
func (f *fake) last(part string, do func(http.ResponseWriter, *http.Request) bool) (undo func()) {
	set := func(lasting *fault) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lasting = lasting
	}
	set(&fault{match: func(r *http.Request) bool { return strings.Contains(r.URL.EscapedPath(), part) }, do: do})
	return func() { set(nil) }
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Trans-Id", "tx1")
		w.WriteHeader(code)
		return true
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.RequestURI)
	var hit *fault
	for i, candidate := range f.faults {
		if candidate.match(r) {
			hit = &candidate
			f.faults = slices.Delete(f.faults, i, i+1)
			break
		}
	}
	if hit == nil && f.lasting != nil && f.lasting.match(r) {
		hit = f.lasting
	}
	f.mu.Unlock()
	if hit != nil && hit.do(w, r) {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/identity/v3/auth/tokens") {
		f.authenticate(w, r)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v1/AUTH_project/")
	if !ok {
		http.Error(w, "no such account", http.StatusNotFound)
		return
	}
	f.mu.Lock()
	good := r.Header.Get("X-Auth-Token") == fmt.Sprint("token-", f.tokens)
	f.mu.Unlock()
	if !good {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	container, name, isObject := strings.Cut(rest, "/")
	name, err := url.PathUnescape(name)
	if err != nil || strings.Contains(r.URL.EscapedPath(), "@") {
		http.Error(w, "bad name", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(r.Body) // before the lock: it may be slow
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !isObject {
		f.container(w, r, container)
		return
	}
	f.object(w, r, container, name, body)
}

func (f *fake) authenticate(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct {
						Name, Password string
						Domain         struct{ Name string }
					}
				}
			}
			Scope struct {
				Project struct {
					Name   string
					Domain struct{ Name string }
				}
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, project := request.Auth.Identity.Password.User, request.Auth.Scope.Project
	if user.Name != "karbor" || user.Password != "s3cret" || user.Domain.Name != "users" ||
		project.Name != "service" || project.Domain.Name != "projects" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	f.mu.Lock()
	f.tokens++
	w.Header().Set("X-Subject-Token", fmt.Sprint("token-", f.tokens))
	f.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": {"catalog": [
		{"type": "identity", "endpoints": [{"interface": "public", "url": "http://nowhere"}]},
		{"type": "object-store", "endpoints": [
			{"interface": "admin", "url": "http://nowhere"},
			{"interface": "public", "region": "any", "url": "%s/v1/AUTH_project"}]}]}}`, f.URL)
}

func (f *fake) container(w http.ResponseWriter, r *http.Request, name string) {
	objects, ok := f.containers[name]
	switch {
	case r.Method == http.MethodPut:
		if !ok {
			f.containers[name] = map[string]fakeObject{}
		}
		w.WriteHeader(http.StatusCreated)
	case !ok:
		http.Error(w, "no such container", http.StatusNotFound)
	case r.Method == http.MethodGet:
		f.list(w, r, objects)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// list lists names, and what a delimiter makes of them, as Swift does.
//
// Swift: container/backend.py list_objects_iter, container/server.py update_object_record
func (f *fake) list(w http.ResponseWriter, r *http.Request, objects map[string]fakeObject) {
	q := r.URL.Query()
	limit := f.pageLimit
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n > f.pageLimit {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		limit = n
	}
	reverse, marker := q.Get("reverse") == "on", q.Get("marker")
	prefix, delimiter, last := q.Get("prefix"), q.Get("delimiter"), ""
	var names []string
	for name := range objects {
		after := marker == "" || !reverse && name > marker || reverse && name < marker
		if after && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if reverse {
		slices.Reverse(names)
	}
	listed := []map[string]string{}
	var page strings.Builder
	for _, name := range names {
		if limit == 0 {
			break
		}
		var entry map[string]string
		if end := strings.Index(name[len(prefix):], delimiter); delimiter != "" && end >= 0 {
			name = name[:len(prefix)+end+len(delimiter)]
			if name == marker || name == last {
				continue
			}
			entry = map[string]string{"subdir": name}
		} else {
			entry = map[string]string{"name": name, "hash": f.hash(name, objects[name])}
		}
		last = name
		page.WriteString(name + "\n")
		listed = append(listed, entry)
		limit--
	}
	if q.Get("format") == "json" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(listed)
		return
	}
	if page.Len() == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	_, _ = io.WriteString(w, page.String())
}

func (f *fake) object(w http.ResponseWriter, r *http.Request, container, name string, body []byte) {
	objects, ok := f.containers[container]
	if !ok {
		http.Error(w, "no such container", http.StatusNotFound)
		return
	}
	o, ok := objects[name]
	if ok && !o.expires.IsZero() && !f.now.Before(o.expires) {
		delete(objects, name)
		ok = false
	}
	if !ok && r.Method != http.MethodPut {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPut:
		if ok && r.Header.Get("If-None-Match") == "*" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		o = fakeObject{body: body, header: r.Header.Clone()}
		o.expires = f.expiry(r)
		objects[name] = o
		w.Header().Set("Etag", etag(body))
		w.WriteHeader(http.StatusCreated)
	case http.MethodPost:
		o.expires = f.expiry(r)
		objects[name] = o
		w.WriteHeader(http.StatusAccepted)
	case http.MethodDelete:
		delete(objects, name)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodHead, http.MethodGet:
		if match := r.Header.Get("If-Match"); match != "" && match != etag(o.body) {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		serve(w, r, o)
	}
}

func serve(w http.ResponseWriter, r *http.Request, o fakeObject) {
	for name, values := range o.header {
		if strings.HasPrefix(name, "X-Object-Meta-") {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Etag", etag(o.body))
	body, code := o.body, http.StatusOK
	if from, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		start, err := strconv.Atoi(strings.TrimSuffix(from, "-"))
		if err != nil || start >= len(body) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		body, code = body[start:], http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

func (f *fake) expiry(r *http.Request) time.Time {
	seconds, err := strconv.Atoi(r.Header.Get("X-Delete-After"))
	if err != nil {
		return time.Time{}
	}
	return f.now.Add(time.Duration(seconds) * time.Second)
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:])
}

// seen returns the requests so far, without those to Keystone, and forgets
// them.
func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := slices.DeleteFunc(f.requests, func(r string) bool { return strings.Contains(r, "/identity/") })
	f.requests = nil
	return seen
}

func (f *fake) stored(container, name string) (fakeObject, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.containers[container][name]
	return o, ok
}

func (f *fake) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}
