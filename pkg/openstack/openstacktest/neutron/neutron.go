// SPDX-License-Identifier: Apache-2.0

// Package neutron is a Neutron for tests. It keeps the topology of a project, assigns
// addresses, and refuses requests as the real service does: removing what is in use,
// assigning an address twice, and detaching a router's port other than through the
// router.
// neutron: api-ref/source/v2, extensions/securitygroup.py, db/l3_db.py
package neutron

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

// Collections, as written in paths.
const (
	Networks    = "networks"
	Subnets     = "subnets"
	Ports       = "ports"
	Routers     = "routers"
	Groups      = "security-groups"
	Rules       = "security-group-rules"
	FloatingIPs = "floatingips"
)

// members maps a collection to the name of a single member in bodies; listings use the
// plural.
var members = map[string]string{
	Networks: "network", Subnets: "subnet", Ports: "port", Routers: "router",
	Groups: "security_group", Rules: "security_group_rule", FloatingIPs: "floatingip",
}

// Thing is a network, a subnet or any other member, as Neutron shows it. Tests may read
// and change it between the calls of a plugin.
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
	// Looks is the number of looks at a new network, router or port that see status
	// BUILD; 0 by default.
	Looks int
	// Admin gives the caller an administrator's rights.
	Admin bool
	// MaxMTU is the largest MTU of the cloud's networks; 0 means no limit.
	MaxMTU int

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

// New starts a cloud with only a Neutron that contains only the project's default
// security group. It ends with the test.
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

// Add creates a thing as a request with this body does. It panics when Neutron would
// refuse the request, which is a mistake in the test.
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

// Things returns all members of a collection, in the order of creation.
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

// Drop removes a thing, regardless of its dependents.
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

// Error is an answer that refuses a request.
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

// forbidden returns the answer to a request that policy does not allow the caller.
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

// where returns the members of a collection that have the wanted values.
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

// Inventory lists the resources of the service, named without their ids.
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

// newID returns consecutive ids, so that the same world has the same ids.
func (s *Service) newID() string {
	s.serial++
	return fmt.Sprintf("0e0f0c0a-0000-4000-8000-%012x", s.serial)
}

// nouns begin the names of the errors about a collection.
var nouns = map[string]string{
	Networks: "Network", Subnets: "Subnet", Ports: "Port", Routers: "Router",
	Groups: "SecurityGroup", Rules: "SecurityGroupRule", FloatingIPs: "FloatingIP",
}

func missing(collection, id string) *Error {
	noun := nouns[collection]
	return notFound(noun+"NotFound", "%s %s could not be found.", noun, id)
}

// list answers a listing: filters by equality, fields, and pages of at most PageSize.
func (s *Service) list(w http.ResponseWriter, r *http.Request, collection string) {
	query := r.URL.Query()
	size := s.PageSize
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > 0 {
		size = min(size, limit)
	}
	page, begun := []Thing{}, query.Get("marker") == ""
	body := map[string]any{}
	for _, t := range s.things[collection] {
		switch {
		case !begun:
			begun = t.ID() == query.Get("marker")
		case !matches(t, query):
		case len(page) == size:
			next := maps.Clone(query)
			next.Set("marker", page[size-1].ID())
			body[plural(collection)+"_links"] = []any{map[string]any{"rel": "next", "href": "http://elsewhere/" + collection + "?" + next.Encode()}}
			body[plural(collection)] = narrow(page, query["fields"])
			answer(w, http.StatusOK, body)
			return
		default:
			s.look(t)
			page = append(page, s.view(collection, t))
		}
	}
	body[plural(collection)] = narrow(page, query["fields"])
	answer(w, http.StatusOK, body)
}

func plural(collection string) string { return strings.ReplaceAll(collection, "-", "_") }

// narrow removes all fields but the requested ones.
func narrow(page []Thing, fields []string) []Thing {
	if len(fields) == 0 {
		return page
	}
	narrowed := []Thing{}
	for _, t := range page {
		few := Thing{}
		for _, name := range fields {
			if value, ok := t[name]; ok {
				few[name] = value
			}
		}
		narrowed = append(narrowed, few)
	}
	return narrowed
}

func matches(t Thing, query url.Values) bool {
	for name, values := range query {
		switch name {
		case "limit", "marker", "fields", "sort_key", "sort_dir":
			continue
		case "fixed_ips":
			for _, value := range values {
				key, wanted, _ := strings.Cut(value, "=")
				if !slices.ContainsFunc(addresses(t), func(ip Thing) bool { return ip.text(key) == wanted }) {
					return false
				}
			}
			continue
		}
		value, ok := t[name]
		if !ok || !slices.Contains(values, fmt.Sprint(value)) {
			return false
		}
	}
	return true
}

// look is one look at a thing.
func (s *Service) look(t Thing) {
	left, on := s.building[t.ID()]
	if !on {
		return
	}
	if left > 1 {
		s.building[t.ID()] = left - 1
		return
	}
	delete(s.building, t.ID())
	t["status"] = settled(t)
}

// settled returns the status of a thing that is no longer being built: an unbound port is
// down.
func settled(t Thing) string {
	if _, port := t["fixed_ips"]; port && t.text("device_id") == "" {
		return "DOWN"
	}
	return "ACTIVE"
}

// view returns a thing as Neutron shows it.
func (s *Service) view(collection string, t Thing) Thing {
	shown := maps.Clone(t)
	switch collection {
	case Networks:
		ids := []string{}
		for _, subnet := range s.where(Subnets, Thing{"network_id": t.ID()}) {
			ids = append(ids, subnet.ID())
		}
		shown["subnets"] = ids
	case Groups:
		rules := s.where(Rules, Thing{"security_group_id": t.ID()})
		if rules == nil {
			rules = []Thing{}
		}
		shown["security_group_rules"] = rules
	}
	return shown
}

func (s *Service) show(w http.ResponseWriter, r *http.Request, collection string) {
	t := s.find(collection, r.PathValue("id"))
	if t == nil {
		refuse(w, missing(collection, r.PathValue("id")))
		return
	}
	s.look(t)
	answer(w, http.StatusOK, map[string]any{members[collection]: s.view(collection, t)})
}

// create creates one member, or many at once: all or none of them.
func (s *Service) create(w http.ResponseWriter, r *http.Request, collection string) {
	var body map[string]json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, badRequest("HTTPBadRequest", "The server could not comply with the request: %v", err))
		return
	}
	var one Thing
	var many []Thing
	switch {
	case json.Unmarshal(body[members[collection]], &one) == nil && one != nil:
		made, err := s.make(collection, one)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusCreated, map[string]any{members[collection]: s.view(collection, made)})
	case json.Unmarshal(body[plural(collection)], &many) == nil && many != nil:
		before := slices.Clone(s.things[collection])
		views := []Thing{}
		for _, one := range many {
			made, err := s.make(collection, one)
			if err != nil {
				s.things[collection] = before
				refuse(w, err)
				return
			}
			views = append(views, s.view(collection, made))
		}
		answer(w, http.StatusCreated, map[string]any{plural(collection): views})
	default:
		refuse(w, badRequest("HTTPBadRequest", "Unable to find '%s' in request body", members[collection]))
	}
}

// make creates the thing that a body describes. Missing attributes have defaults.
func (s *Service) make(collection string, body Thing) (Thing, *Error) {
	t := Thing{"id": s.newID(), "description": "", "project_id": openstacktest.Project, "tags": []string{}}
	if project := body.text("tenant_id"); project != "" {
		body["project_id"] = project
	}
	switch collection {
	case Networks:
		return s.newNetwork(s.merged(t, body))
	case Subnets:
		return s.newSubnet(s.merged(t, body))
	case Ports:
		return s.newPort(s.merged(t, body))
	case Routers:
		return s.newRouter(s.merged(t, body))
	case Groups:
		if body.text("name") == "default" {
			return nil, conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		}
		return s.newGroup(s.merged(t, body)), nil
	case Rules:
		return s.newRule(s.merged(t, body))
	}
	return s.newFloatingIP(s.merged(t, body))
}

// merged returns the defaults, overridden by a body.
func (s *Service) merged(defaults, body Thing) Thing {
	t := maps.Clone(defaults)
	maps.Copy(t, body)
	if t.text("id") == "" {
		t["id"] = s.newID()
	}
	if t.text("project_id") == "" {
		t["project_id"] = openstacktest.Project
	}
	t["tenant_id"] = t["project_id"]
	return t
}

// keep stores a new thing, which is not ready at once if it has a status.
func (s *Service) keep(collection string, t Thing) Thing {
	s.things[collection] = append(s.things[collection], t)
	if _, has := t["status"]; has && s.Looks > 0 && collection != FloatingIPs {
		t["status"] = "BUILD"
		s.building[t.ID()] = s.Looks
	}
	return t
}

func (s *Service) update(w http.ResponseWriter, r *http.Request, collection string) {
	t := s.find(collection, r.PathValue("id"))
	var body map[string]Thing
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body[members[collection]] == nil {
		refuse(w, badRequest("HTTPBadRequest", "Unable to find '%s' in request body", members[collection]))
		return
	}
	if t == nil {
		refuse(w, missing(collection, r.PathValue("id")))
		return
	}
	change := body[members[collection]]
	var err *Error
	switch collection {
	case Ports:
		err = s.changePort(t, change)
	case Routers:
		err = s.changeRouter(t, change)
	case FloatingIPs:
		err = s.associate(t, change)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	maps.Copy(t, change)
	answer(w, http.StatusOK, map[string]any{members[collection]: s.view(collection, t)})
}

func (s *Service) remove(w http.ResponseWriter, r *http.Request, collection string) {
	t := s.find(collection, r.PathValue("id"))
	if t == nil {
		refuse(w, missing(collection, r.PathValue("id")))
		return
	}
	if err := s.removable(collection, t); err != nil {
		refuse(w, err)
		return
	}
	s.discard(collection, t)
	w.WriteHeader(http.StatusNoContent)
}

// removable returns the reason why a thing cannot be deleted, nil if it can.
func (s *Service) removable(collection string, t Thing) *Error {
	switch collection {
	case Networks:
		return s.networkFree(t)
	case Subnets:
		return s.subnetFree(t)
	case Ports:
		return portFree(t)
	case Routers:
		return s.routerFree(t)
	case Groups:
		return s.groupFree(t)
	}
	return nil
}

// discard removes a thing and its dependents.
func (s *Service) discard(collection string, t Thing) {
	s.drop(collection, t.ID())
	switch collection {
	case Networks:
		for _, subnet := range s.where(Subnets, Thing{"network_id": t.ID()}) {
			s.drop(Subnets, subnet.ID())
		}
		for _, port := range s.where(Ports, Thing{"network_id": t.ID()}) {
			s.drop(Ports, port.ID())
		}
	case Ports:
		for _, ip := range s.where(FloatingIPs, Thing{"port_id": t.ID()}) {
			ip["port_id"], ip["fixed_ip_address"] = nil, nil
		}
	case Groups:
		for _, rule := range s.where(Rules, Thing{"security_group_id": t.ID()}) {
			s.drop(Rules, rule.ID())
		}
	}
}

// describe returns a description of a thing and its connections, by names.
func (s *Service) describe(collection string, t Thing) string {
	text := fmt.Sprintf("%s %q %q", members[collection], t.text("name"), t.text("description"))
	switch collection {
	case Networks:
		text += fmt.Sprintf(" %v %v shared %v up %v secure %v", t["tags"], t["status"], t["shared"], t["admin_state_up"], t["port_security_enabled"])
	case Subnets:
		text += fmt.Sprintf(" of %s %v by %v DHCP %v pools %v routes %v", s.named(Networks, t["network_id"]), t["cidr"], t["gateway_ip"], t["enable_dhcp"], t["allocation_pools"], t["host_routes"])
	case Ports:
		text += fmt.Sprintf(" of %s %v owner %q at %s groups %v", s.named(Networks, t["network_id"]), t["status"], t.text("device_owner"), s.named(Routers, t["device_id"]), s.groupNames(t))
		for _, ip := range addresses(t) {
			text += " " + ip.text("ip_address")
		}
	case Routers:
		gateway, _ := t["external_gateway_info"].(map[string]any)
		text += fmt.Sprintf(" %v to %s routes %v", t["status"], s.named(Networks, gateway["network_id"]), t["routes"])
	case Rules:
		text += fmt.Sprintf(" of %s %v %v %v %v %v %v %s", s.named(Groups, t["security_group_id"]),
			t["direction"], t["ethertype"], t["protocol"], t["port_range_min"], t["port_range_max"], t["remote_ip_prefix"], s.named(Groups, t["remote_group_id"]))
	case FloatingIPs:
		text += fmt.Sprintf(" %v to %v used %v", t["floating_ip_address"], t["fixed_ip_address"], t["port_id"] != nil)
	}
	return text
}

// named returns the name of the thing with an id, "-" without one.
func (s *Service) named(collection string, id any) string {
	text, _ := id.(string)
	if t := s.find(collection, text); t != nil {
		return t.text("name")
	}
	return "-"
}

func (s *Service) groupNames(port Thing) []string {
	groups, _ := port["security_groups"].([]any)
	names := []string{}
	for _, id := range groups {
		names = append(names, s.named(Groups, id))
	}
	slices.Sort(names)
	return names
}
