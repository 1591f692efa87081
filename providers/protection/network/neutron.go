// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// kind is a kind of Neutron's things.
type kind struct {
	collection string // in paths
	member     string // in bodies
	noun       string // in texts
}

var (
	networks = kind{"networks", "network", "network"}
	subnets  = kind{"subnets", "subnet", "subnet"}
	ports    = kind{"ports", "port", "port"}
	routers  = kind{"routers", "router", "router"}
	groups   = kind{"security-groups", "security_group", "security group"}

	kinds = []kind{networks, subnets, ports, routers, groups}
)

// listing is the member of an answer that holds a listing's items.
func (k kind) listing() string { return strings.ReplaceAll(k.collection, "-", "_") }

// item has the fields that are read of existing things.
type item struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Status      string    `json:"status"`
	Shared      bool      `json:"shared"`
	MTU         int       `json:"mtu"`
	DeviceID    string    `json:"device_id"`
	DeviceOwner string    `json:"device_owner"`
	MAC         string    `json:"mac_address"`
	FixedIPs    []fixedIP `json:"fixed_ips"`
	Gateway     *gateway  `json:"external_gateway_info"`
	Routes      []any     `json:"routes"`
	Rules       []rule    `json:"security_group_rules"`

	refusal string // why it could not be as it was, where this run has asked
}

// why is the reason of a remark on something that was made.
func (i *item) why() string { return cmp.Or(i.refusal, "Neutron refused what was there before") }

// ready are the statuses of a thing that was made. A port without a device is DOWN. neutron-lib: constants.py, karbor: neutron_protection_plugin.py
var ready = poll.Statuses{
	Success: []string{"ACTIVE", "DOWN"},
	Failure: []string{"ERROR", "DEGRADED", poll.NotFound},
	Ignore:  []string{"BUILD", "ALLOCATING", "PENDING_CREATE"},
}

// service is Neutron as one caller sees it.
type service struct {
	*gophercloud.ServiceClient
	plugin  *Plugin
	project string // the caller's
}

// list returns a project's things of a kind. For an administrator the project has
// to be named.
func list[T any](ctx context.Context, s *service, k kind, project string, more ...string) ([]T, error) {
	query := url.Values{}
	if project != "" {
		query.Set("project_id", project)
	}
	for i := 0; i+1 < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return openstack.List[T](ctx, s.ServiceClient, k.collection, k.listing(), query)
}

func (s *service) post(ctx context.Context, k kind, body map[string]any) (*item, error) {
	var answer map[string]item
	_, err := s.Post(ctx, s.ServiceURL(k.collection), map[string]any{k.member: body}, &answer, nil)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", k.noun, err)
	}
	made := answer[k.member]
	if made.ID == "" {
		return nil, fmt.Errorf("the answer does not name the new %s", k.noun)
	}
	return &made, nil
}

func (s *service) put(ctx context.Context, body any, path ...string) error {
	_, err := s.Put(ctx, s.ServiceURL(path...), body, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	return err
}

// change changes attributes of a thing.
func (s *service) change(ctx context.Context, k kind, id string, body map[string]any) error {
	if err := s.put(ctx, map[string]any{k.member: body}, k.collection, url.PathEscape(id)); err != nil {
		return fmt.Errorf("change %s %s: %w", k.noun, id, err)
	}
	return nil
}

// remove deletes a thing. A thing that is gone is no error.
func (s *service) remove(ctx context.Context, collection, id string) error {
	_, err := s.Delete(ctx, s.ServiceURL(collection, url.PathEscape(id)), &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusNoContent, http.StatusNotFound},
	})
	return err
}

// await waits until a thing is made, with one listing for all that are waited for.
func (s *service) await(ctx context.Context, k kind, i *item) error {
	if i.Status == "" || slices.Contains(ready.Success, i.Status) {
		return nil
	}
	err := s.plugin.polls.Until(ctx, poll.Key{Service: "neutron", Project: s.project, Kind: k.collection}, poll.Wait{
		ID: i.ID, Statuses: ready, Options: s.plugin.poll, Source: source{s, k},
	})
	if err != nil {
		return fmt.Errorf("wait for %s %s: %w", k.noun, i.ID, err)
	}
	return nil
}

// source looks at things of a kind.
type source struct {
	service *service
	kind    kind
}

var _ poll.Source = source{}

// Page implements poll.Source. Neutron sorts by id and not by age.
func (s source) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	if marker == "" {
		marker = url.Values{"project_id": {s.service.project}, "fields": {"id", "status"}}.Encode()
	}
	items, next, err := openstack.Page[item](ctx, s.service.ServiceClient, s.kind.collection, s.kind.listing(), marker)
	page := make(map[string]poll.Status, len(items))
	for _, i := range items {
		page[i.ID] = poll.Status{Text: i.Status}
	}
	return page, next, err
}

// Show implements poll.Source.
func (s source) Show(ctx context.Context, id string) (poll.Status, error) {
	i, err := openstack.Show[item](ctx, s.service.ServiceClient, s.kind.collection, id, s.kind.member)
	if openstack.IsNotFound(err) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return poll.Status{Text: i.Status}, nil
}
