// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Client makes a client of the service for the caller of a context.
type Client func(ctx context.Context) (*gophercloud.ServiceClient, error)

// Gate is a plugin's way to a service. All its waits share their listings.
type Gate struct {
	client  Client
	polls   *poll.Batch
	options poll.Options
}

// NewGate returns a way to a service. interval lies between two looks at what is
// waited for; a wait fails after timeout, unless that is 0.
func NewGate(client Client, interval, timeout time.Duration) *Gate {
	return &Gate{
		client:  client,
		polls:   poll.NewBatch(poll.BatchOptions{Interval: interval}),
		options: poll.Options{Timeout: timeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Service is a service as one caller sees it.
type Service struct {
	*gophercloud.ServiceClient
	gate    *Gate
	project string
}

// For returns the service for the caller of ctx.
func (g *Gate) For(ctx context.Context) (*Service, error) {
	client, err := g.client(ctx)
	if err != nil {
		return nil, err
	}
	return &Service{ServiceClient: client, gate: g, project: requestcontext.From(ctx).ProjectID}, nil
}

// Show reads one item.
func (s *Service) Show(ctx context.Context, kind Kind, id string) (*Item, error) {
	return openstack.Show[Item](ctx, s.ServiceClient, kind.Collection, id, kind.Member)
}

// Await waits until an item has one of the statuses, with a listing for all that
// wait. report, which may be nil, is told how far the item is.
func (s *Service) Await(ctx context.Context, kind Kind, id string, statuses poll.Statuses, report func(percent int)) error {
	err := s.gate.polls.Until(ctx, poll.Key{Service: kind.Service, Project: s.project, Kind: kind.Collection}, poll.Wait{
		ID: id, Statuses: statuses, Options: s.gate.options, Source: source{s, kind}, Report: report,
	})
	if err != nil {
		return fmt.Errorf("wait for %s %s: %w", kind.Member, id, err)
	}
	return nil
}

// source looks at items of a kind.
type source struct {
	service *Service
	kind    Kind
}

var _ poll.Source = source{}

// Page implements poll.Source. The marker is the query of the next page.
func (s source) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	items, next, err := openstack.Page[Item](ctx, s.service.ServiceClient, s.kind.Listing, s.kind.Collection, marker)
	page := make(map[string]poll.Status, len(items))
	for _, i := range items {
		page[i.ID] = s.kind.status(&i)
	}
	return page, next, err
}

// Show implements poll.Source.
func (s source) Show(ctx context.Context, id string) (poll.Status, error) {
	item, err := s.service.Show(ctx, s.kind, id)
	if openstack.IsNotFound(err) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return s.kind.status(item), nil
}
