// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Client is a plugin's access to a service. All its waits share their listings.
type Client struct {
	connect func(context.Context) (*gophercloud.ServiceClient, error)
	polls   *poll.Batch
	options poll.Options
}

// NewClient returns the access to a service of a plugin. connect makes a client for
// the caller of a context.
func NewClient(cfg poll.Config, connect func(context.Context) (*gophercloud.ServiceClient, error)) *Client {
	return &Client{
		connect: connect,
		polls:   poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		options: poll.Options{Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Service is a service as one caller sees it.
type Service struct {
	*gophercloud.ServiceClient
	Project string // the caller's
	client  *Client
}

// For returns the service for the caller of ctx.
func (c *Client) For(ctx context.Context) (*Service, error) {
	client, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &Service{ServiceClient: client, client: c, Project: requestcontext.From(ctx).ProjectID}, nil
}

// Session is one run of an operation on a resource, with the state of earlier runs.
type Session struct {
	*Service
	Call *protection.Call
	// Save keeps the state that the session has begun with.
	Save func() error
}

// Begin returns a session of the caller of ctx, with the state of earlier runs in
// state, a pointer.
func (c *Client) Begin(ctx context.Context, call *protection.Call, state any) (*Session, error) {
	service, err := c.For(ctx)
	if err != nil {
		return nil, err
	}
	if err := call.LoadState(ctx, state); err != nil {
		return nil, err
	}
	return &Session{Service: service, Call: call, Save: func() error { return call.SaveState(ctx, state) }}, nil
}

// Show reads one item.
func (s *Service) Show(ctx context.Context, kind Kind, id string) (*Item, error) {
	return openstack.Show[Item](ctx, s.ServiceClient, kind.Collection, id, kind.Member)
}

// Await waits until an item has one of the statuses, with a listing for all that
// wait. report, which may be nil, is told how far the item is.
func (s *Service) Await(ctx context.Context, kind Kind, id string, statuses poll.Statuses, report func(percent int)) error {
	err := s.Until(ctx, kind.Service, kind.Collection, poll.Wait{ID: id, Statuses: statuses, Source: source{s, kind}, Report: report})
	if err != nil {
		return fmt.Errorf("waiting for %s %s: %w", kind.Member, id, err)
	}
	return nil
}

// Until waits for an item of a collection with the options of the client, which it
// sets. Waits of a project share their listings.
func (s *Service) Until(ctx context.Context, service, collection string, w poll.Wait) error {
	w.Options = s.client.options
	return s.client.polls.Until(ctx, poll.Key{Service: service, Project: s.Project, Kind: collection}, w)
}

// deletions is how many times a deletion is asked for at most, when the item is busy.
const deletions = 3

// Delete removes an item and waits until it is gone. An item that is gone already is no
// error; a busy one is waited for.
func (s *Service) Delete(ctx context.Context, kind Kind, id string) error {
	for attempt := 1; ; attempt++ {
		resp, err := s.ServiceClient.Delete(ctx, s.ServiceURL(kind.Collection, url.PathEscape(id)), &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusAccepted, http.StatusNoContent, http.StatusNotFound},
		})
		if err == nil && resp.StatusCode == http.StatusNotFound {
			return nil
		}
		if err == nil {
			return s.Await(ctx, kind, id, kind.Going, nil)
		}
		err = fmt.Errorf("deleting %s %s: %w", kind.Member, id, err)
		if attempt == deletions || !slices.ContainsFunc(kind.Refusals, func(code int) bool { return gophercloud.ResponseCodeIs(err, code) }) {
			return err
		}
		wait := s.Await(ctx, kind, id, kind.Settled, nil)
		var status *poll.StatusError
		if errors.As(wait, &status) {
			return err // which says why
		}
		if wait != nil {
			return wait
		}
	}
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
