// SPDX-License-Identifier: Apache-2.0

// Package neutron is a Neutron for tests. It keeps the topology of a project, gives
// out addresses, and refuses what the real one refuses: to remove what is in use, to
// give an address twice, to take a router's port away behind its back.
// neutron: api-ref/source/v2, extensions/securitygroup.py, db/l3_db.py
package neutron

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Collections, as they stand in paths.
const (
	Networks    = "networks"
	Subnets     = "subnets"
	Ports       = "ports"
	Routers     = "routers"
	Groups      = "security-groups"
	Rules       = "security-group-rules"
	FloatingIPs = "floatingips"
)

// members name one of a collection in bodies; that of a listing is in the plural.
var members = map[string]string{
	Networks: "network", Subnets: "subnet", Ports: "port", Routers: "router",
	Groups: "security_group", Rules: "security_group_rule", FloatingIPs: "floatingip",
}

// Thing is a network, a subnet or any other of them, as Neutron shows it. It is for
// reading and changing between the calls of a plugin.
type Thing map[string]any

// ID returns the id of a thing.
func (t Thing) ID() string { return t.text("id") }

func (t Thing) text(key string) string {
	text, _ := t[key].(string)
	return text
}

// Service is the Neutron of a cloud.
type Service struct {
	*openstacktest.Cloud
	// PageSize bounds a page of listings; 1000 by default.
	PageSize int
	// Looks is how many looks at a new network, router or port see it in status
	// BUILD; 0 by default: none does.
	Looks int
	// Admin lets the caller do what is an administrator's.
	Admin bool

	mu       sync.Mutex
	things   map[string][]Thing
	building map[string]int // looks that are left, by id
	refuses  map[string]refusal
	serial   int
}

type refusal struct {
	status int
	body   string
}

// New starts a cloud that has a Neutron and nothing else, and in it no more than
// the project's default security group. It ends with the test.
func New(t testing.TB) *Service {
	t.Helper()
	return Over(openstacktest.New(t))
}

// Over adds a Neutron to a cloud.
func Over(cloud *openstacktest.Cloud) *Service {
	s := &Service{
		Cloud: cloud, PageSize: 1000,
		things: map[string][]Thing{}, building: map[string]int{}, refuses: map[string]refusal{},
	}
	for collection := range members {
		base := openstacktest.Neutron + "/" + collection
		s.handle("GET "+base, func(w http.ResponseWriter, r *http.Request) { s.list(w, r, collection) })
		s.handle("GET "+base+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.show(w, r, collection) })
		s.handle("POST "+base, func(w http.ResponseWriter, r *http.Request) { s.create(w, r, collection) })
		s.handle("PUT "+base+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.update(w, r, collection) })
		s.handle("DELETE "+base+"/{id}", func(w http.ResponseWriter, r *http.Request) { s.remove(w, r, collection) })
	}
	s.handle("PUT "+openstacktest.Neutron+"/routers/{id}/add_router_interface", s.plug)
	s.handle("PUT "+openstacktest.Neutron+"/routers/{id}/remove_router_interface", s.unplug)
	s.handle("PUT "+openstacktest.Neutron+"/networks/{id}/tags", s.tag)
	s.newGroup(Thing{"name": "default", "description": "Default security group"})
	return s
}

// Add makes something as a request with this body does. It panics when Neutron
// would refuse it: that is a mistake in the test.
func (s *Service) Add(collection string, body Thing) Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	admin := s.Admin
	s.Admin = true
	defer func() { s.Admin = admin }()
	made, err := s.make(collection, maps.Clone(body))
	if err != nil {
		panic(fmt.Sprintf("add one of %s: %v", collection, err))
	}
	delete(s.building, made.ID())
	if made["status"] == "BUILD" {
		made["status"] = settled(made)
	}
	return made
}

// Plug adds an interface to a router, at the gateway address of a subnet.
func (s *Service) Plug(router, subnet Thing) Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	port, err := s.plugSubnet(router, subnet.ID())
	if err != nil {
		panic(err)
	}
	return port
}

// Things returns all of a collection, in the order in which they were made.
func (s *Service) Things(collection string) []Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.things[collection])
}

// Find returns a thing, nil if it is not there.
func (s *Service) Find(collection, id string) Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(collection, id)
}

// Drop takes a thing away, whatever depends on it.
func (s *Service) Drop(collection, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(collection, id)
}

// Refuse answers all calls with a method and the end of a path, such as "POST
// /networks", with an error of Neutron.
func (s *Service) Refuse(call string, status int, kind, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := json.Marshal(&Error{status, kind, message})
	s.refuses[call] = refusal{status, string(body)}
}

// Allow ends what Refuse began.
func (s *Service) Allow(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refuses, call)
}

// Error is an answer that refuses something.
type Error struct {
	Status  int
	Type    string // "NetworkInUse"
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// MarshalJSON writes the body of the answer.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"NeutronError": map[string]string{"type": e.Type, "message": e.Message, "detail": ""}})
}

func conflict(kind, format string, args ...any) *Error {
	return &Error{http.StatusConflict, kind, fmt.Sprintf(format, args...)}
}

func badRequest(kind, format string, args ...any) *Error {
	return &Error{http.StatusBadRequest, kind, fmt.Sprintf(format, args...)}
}

func notFound(kind, format string, args ...any) *Error {
	return &Error{http.StatusNotFound, kind, fmt.Sprintf(format, args...)}
}

// forbidden is the answer to what a policy does not let the caller do.
func forbidden(rule string) *Error {
	return &Error{http.StatusForbidden, "PolicyNotAuthorized", fmt.Sprintf("rule:%s is disallowed by policy", rule)}
}

func (s *Service) find(collection, id string) Thing {
	for _, t := range s.things[collection] {
		if t.ID() == id {
			return t
		}
	}
	return nil
}

func (s *Service) drop(collection, id string) {
	s.things[collection] = slices.DeleteFunc(s.things[collection], func(t Thing) bool { return t.ID() == id })
}

// where returns the things of a collection whose texts are these.
func (s *Service) where(collection string, wanted Thing) []Thing {
	var found []Thing
	for _, t := range s.things[collection] {
		fits := true
		for key, value := range wanted {
			fits = fits && t[key] == value
		}
		if fits {
			found = append(found, t)
		}
	}
	return found
}

// Inventory names all that is there without ids.
func (s *Service) Inventory(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := []string{}
	for collection, things := range s.things {
		for _, t := range things {
			there = append(there, s.describe(collection, t))
		}
	}
	return there, nil
}

// handle answers a pattern under the lock, unless the call is refused.
func (s *Service) handle(pattern string, h http.HandlerFunc) {
	s.Handle(pattern, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for call, refused := range s.refuses {
			method, end, _ := strings.Cut(call, " ")
			if r.Method == method && strings.HasSuffix(r.URL.Path, end) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(refused.status)
				_, _ = w.Write([]byte(refused.body))
				return
			}
		}
		h(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, err *Error) { answer(w, err.Status, err) }

// newID counts: the same world has the same ids.
func (s *Service) newID() string {
	s.serial++
	return fmt.Sprintf("0e0f0c0a-0000-4000-8000-%012x", s.serial)
}
