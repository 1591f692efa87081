// SPDX-License-Identifier: Apache-2.0

package neutron

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

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

// narrow leaves the fields that were asked for.
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

// settled is the status of what is not being built any more: a port that nobody
// is bound to is down.
func settled(t Thing) string {
	if _, port := t["fixed_ips"]; port && t.text("device_id") == "" {
		return "DOWN"
	}
	return "ACTIVE"
}

// view is a thing as Neutron shows it.
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

// create makes one, or many at once: all or none of them.
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

// make makes what a body describes. Attributes that it lacks have defaults.
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

// merged returns defaults, and over them what a body says.
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

// keep enters a new thing, which takes a while to be ready if it has a status.
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

// removable tells why a thing cannot be deleted.
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

// discard drops a thing and what goes with it.
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
