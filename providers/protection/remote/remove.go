// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// deletions is how many times one is asked for at most, when the item is busy.
const deletions = 3

// Delete removes an item and waits until it is gone. One that is gone already is
// as good; the end of what keeps one busy is waited for.
func (s *Service) Delete(ctx context.Context, kind Kind, id string) error {
	for attempt := 1; ; attempt++ {
		resp, err := s.ServiceClient.Delete(ctx, s.ServiceURL(kind.Collection, url.PathEscape(id)), &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusAccepted, http.StatusNoContent, http.StatusNotFound},
		})
		if err == nil && resp.StatusCode == http.StatusNotFound {
			return nil
		}
		if err == nil {
			break
		}
		err = fmt.Errorf("delete %s %s: %w", kind.Member, id, err)
		if attempt == deletions || !refused(err, kind) {
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
	return s.Await(ctx, kind, id, kind.Going, nil)
}

func refused(err error, kind Kind) bool {
	return slices.ContainsFunc(kind.Refusals, func(code int) bool { return gophercloud.ResponseCodeIs(err, code) })
}

// Spare deletes what was made for an order besides the item that is kept, if there
// is any doubt that it is the only one. It is called when that is ready.
func (s *Service) Spare(ctx context.Context, o Order) error {
	if !o.Made.Doubt {
		return nil
	}
	items, err := s.Find(ctx, o)
	items = slices.DeleteFunc(items, func(i Item) bool { return i.ID == o.Made.ID })
	return s.deleteAll(ctx, o.Kind, items, err)
}

// Remove deletes what was made for an order, also what was made without an
// answer, and waits until it is gone. Its error names what is left.
func (s *Service) Remove(ctx context.Context, c *protection.Call, o Order) error {
	switch {
	case !o.Made.Asked && c.State != nil:
		return nil
	case o.Made.ID != "" && !o.Made.Doubt:
		return s.deleteAll(ctx, o.Kind, []Item{{ID: o.Made.ID}}, nil)
	}
	return s.Sweep(ctx, o)
}

// Sweep deletes all that is recognized as an order's, and its item if there is
// one, and waits until it is gone. Its error names what is left.
func (s *Service) Sweep(ctx context.Context, o Order) error {
	items, err := s.Find(ctx, o)
	if o.Made != nil && o.Made.ID != "" && !slices.ContainsFunc(items, func(i Item) bool { return i.ID == o.Made.ID }) {
		items = append(items, Item{ID: o.Made.ID})
	}
	return s.deleteAll(ctx, o.Kind, items, err)
}

// deleteAll deletes items, also if their listing has failed with err.
func (s *Service) deleteAll(ctx context.Context, kind Kind, items []Item, err error) error {
	var left []string
	var failures []error
	if err != nil {
		left = append(left, fmt.Sprintf("a %s may be left behind: %s", kind.Member, hook.Reason(err)))
		failures = append(failures, err)
	}
	for _, i := range items {
		if err := s.Delete(ctx, kind, i.ID); err != nil {
			left = append(left, fmt.Sprintf("%s %s is left behind: %s", kind.Member, i.ID, hook.Reason(err)))
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &hook.Failure{Text: strings.Join(left, "; "), Err: errors.Join(failures...)}
}
