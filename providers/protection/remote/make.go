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

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Made is what a State remembers of an item that is made once.
type Made = volume.Made

// Order is an item that is made once.
type Order struct {
	Kind Kind
	// Ours recognizes the item, by what Body gives it.
	Ours func(*Item) bool
	// Query narrows the listing in which it is looked for.
	Query url.Values
	// Body holds the properties of the item.
	Body map[string]any
	// Made is a part of the hook's state, and Save saves that state. Both may be
	// nil for Sweep.
	Made *Made
	Save func() error
}

// Make makes an item, unless an earlier run has made it, and notes its id. The
// item is on its way when Make returns.
func (s *Service) Make(ctx context.Context, c *protection.Call, o Order) error {
	if o.Made.ID != "" {
		return nil
	}
	if o.Made.Asked || c.State == nil {
		found, err := s.find(ctx, o)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			o.Made.Asked, o.Made.ID = true, found[0].ID
			return o.Save()
		}
	}
	o.Made.Asked = true
	if err := o.Save(); err != nil {
		return err
	}
	var answer map[string]Item
	_, err := s.Post(ctx, s.ServiceURL(o.Kind.Collection), map[string]any{o.Kind.Member: o.Body}, &answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted},
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", o.Kind.Member, err)
	}
	o.Made.ID = answer[o.Kind.Member].ID
	if o.Made.ID == "" {
		return fmt.Errorf("the answer does not name the new %s", o.Kind.Member)
	}
	return o.Save()
}

// find lists the items of the order.
func (s *Service) find(ctx context.Context, o Order) ([]Item, error) {
	items, err := openstack.List[Item](ctx, s.ServiceClient, o.Kind.Listing, o.Kind.Collection, o.Query)
	return slices.DeleteFunc(items, func(i Item) bool { return !o.Ours(&i) }), err
}

// Remove deletes what was made for an order, also what was made without an
// answer, and waits until it is gone. Its error names what is left.
func (s *Service) Remove(ctx context.Context, c *protection.Call, o Order) error {
	if !o.Made.Asked && c.State != nil {
		return nil
	}
	return s.Sweep(ctx, o)
}

// Sweep does as Remove does, whatever the order's state knows.
func (s *Service) Sweep(ctx context.Context, o Order) error {
	var left []string
	var failures []error
	items, err := s.find(ctx, o)
	if err != nil {
		left = append(left, fmt.Sprintf("a %s may be left behind: %s", o.Kind.Member, volume.Reason(err)))
		failures = append(failures, err)
	}
	ids := []string{}
	if o.Made != nil && o.Made.ID != "" {
		ids = append(ids, o.Made.ID)
	}
	for _, i := range items {
		if !slices.Contains(ids, i.ID) {
			ids = append(ids, i.ID)
		}
	}
	for _, id := range ids {
		if err := s.Delete(ctx, o.Kind, id); err != nil {
			left = append(left, fmt.Sprintf("%s %s is left behind: %s", o.Kind.Member, id, volume.Reason(err)))
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &volume.Failure{Text: strings.Join(left, "; "), Err: errors.Join(failures...)}
}
