// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Clients makes Cinder clients for the caller of a context.
type Clients interface {
	BlockStorage(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Cinder is a plugin's way to Cinder. All its waits share their listings.
type Cinder struct {
	clients Clients
	polls   *poll.Batch
	options poll.Options
}

// New returns a way to Cinder. interval lies between two looks at what is waited
// for; a wait fails after timeout, unless that is 0.
func New(clients Clients, interval, timeout time.Duration) *Cinder {
	return &Cinder{
		clients: clients,
		polls:   poll.NewBatch(poll.BatchOptions{Interval: interval}),
		options: poll.Options{Timeout: timeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Service is Cinder as one caller sees it.
type Service struct {
	*gophercloud.ServiceClient
	cinder  *Cinder
	project string
}

// For returns the service for the caller of ctx.
func (c *Cinder) For(ctx context.Context) (*Service, error) {
	client, err := c.clients.BlockStorage(ctx)
	if err != nil {
		return nil, err
	}
	return &Service{ServiceClient: client, cinder: c, project: requestcontext.From(ctx).ProjectID}, nil
}

// Show reads one item.
func (s *Service) Show(ctx context.Context, kind Kind, id string) (*Item, error) {
	return openstack.Show[Item](ctx, s.ServiceClient, kind.collection, id, kind.member)
}

// Await waits until an item has one of the statuses, with a listing for all that
// wait. report, which may be nil, is told how far the item is.
func (s *Service) Await(ctx context.Context, kind Kind, id string, statuses poll.Statuses, report func(percent int)) error {
	err := s.cinder.polls.Until(ctx, poll.Key{Service: "cinder", Project: s.project, Kind: kind.collection}, poll.Wait{
		ID: id, Statuses: statuses, Options: s.cinder.options, Source: source{s, kind}, Report: report,
	})
	if err != nil {
		return fmt.Errorf("wait for %s %s: %w", kind.member, id, err)
	}
	return nil
}

// source looks at items of a kind.
type source struct {
	service *Service
	kind    Kind
}

var _ poll.Source = source{}

// Page implements poll.Source. Cinder lists the newest first; the marker is the
// query of the next page.
func (s source) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	items, next, err := openstack.Page[Item](ctx, s.service.ServiceClient, s.kind.collection+"/detail", s.kind.collection, marker)
	page := make(map[string]poll.Status, len(items))
	for _, i := range items {
		page[i.ID] = i.status()
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
	return item.status(), nil
}

// deletions is how many times one is asked for at most, when the item is busy.
const deletions = 3

// Delete removes an item and waits until it is gone. One that is gone already is
// as good; the end of what keeps one busy is waited for.
func (s *Service) Delete(ctx context.Context, kind Kind, id string) error {
	for attempt := 1; ; attempt++ {
		resp, err := s.ServiceClient.Delete(ctx, s.ServiceURL(kind.collection, url.PathEscape(id)), &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusAccepted, http.StatusNoContent, http.StatusNotFound},
		})
		if err == nil && resp.StatusCode == http.StatusNotFound {
			return nil
		}
		if err == nil {
			break
		}
		err = fmt.Errorf("delete %s %s: %w", kind.member, id, err)
		if attempt == deletions || !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
			return err
		}
		wait := s.Await(ctx, kind, id, poll.Statuses{
			Success: append([]string{poll.NotFound}, kind.settled...),
			Ignore:  kind.busy,
		}, nil)
		var status *poll.StatusError
		if errors.As(wait, &status) {
			return err // which says why
		}
		if wait != nil {
			return wait
		}
	}
	return s.Await(ctx, kind, id, poll.Statuses{
		Success: []string{poll.NotFound, "deleted"},
		Failure: []string{"error", "error_deleting"},
		Ignore:  []string{"deleting", "available"},
	}, nil)
}
