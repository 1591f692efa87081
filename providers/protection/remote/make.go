// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
)

// Made is what a State remembers of an item that is made once.
type Made struct {
	// Asked: the service has been, or is about to be, asked for it.
	Asked bool   `json:"asked,omitempty"`
	ID    string `json:"id,omitempty"`
	Size  int    `json:"size,omitempty"` // GiB, where the service counts in whole ones
	// Doubt: a run has asked and does not know the answer, so that there may be
	// one more, even if it was not to be found at once.
	Doubt bool `json:"doubt,omitempty"`
}

// Order is an item that is made once.
type Order struct {
	Kind Kind
	// Marks become the item's metadata, by which it is recognized. A kind that has
	// none is recognized by Ours, from what Body gives it.
	Marks Marks
	Ours  func(*Item) bool
	// Query narrows the listing in which it is looked for.
	Query url.Values
	// Body holds the properties of the item. Marks are added to its metadata, which
	// are Marks too if there are any.
	Body map[string]any
	// Made is a part of the hook's state, and Save saves that state. Both may be
	// nil for Sweep.
	Made *Made
	Save func() error
}

// recognizes tells whether an item is the order's.
func (o Order) recognizes(i *Item) bool {
	if o.Marks != nil {
		return o.Marks.on(i)
	}
	return o.Ours(i)
}

// Make makes an item, unless an earlier run has made it, and notes its id and
// size. The item is on its way when Make returns; that it failed in an earlier run
// shows in its status.
func (s *Service) Make(ctx context.Context, c *protection.Call, o Order) error {
	if o.Made.ID != "" {
		return nil
	}
	o.Made.Doubt = o.Made.Doubt || o.Made.Asked || c.State == nil
	if o.Made.Doubt {
		if found, err := s.adopt(ctx, o); found || err != nil {
			return err
		}
	}
	o.Made.Asked = true
	if err := o.Save(); err != nil {
		return err
	}
	made, err := s.create(ctx, o)
	if err != nil {
		// What an earlier run has asked for may be in the way, and there by now.
		if o.Made.Doubt && protection.Handover(ctx, err) == nil {
			if found, _ := s.adopt(ctx, o); found {
				return nil
			}
		}
		return err
	}
	o.Made.ID, o.Made.Size = made.ID, int(made.Size)
	return o.Save()
}

// adopt looks for the item of an earlier run, and notes it if it is there.
func (s *Service) adopt(ctx context.Context, o Order) (bool, error) {
	found, err := s.Find(ctx, o)
	if err != nil || len(found) == 0 {
		return false, err
	}
	o.Made.Asked, o.Made.ID, o.Made.Size = true, found[0].ID, int(found[0].Size)
	return true, o.Save()
}

func (s *Service) create(ctx context.Context, o Order) (*Item, error) {
	body := maps.Clone(o.Body)
	if o.Marks != nil {
		metadata := Marks{}
		if given, ok := body["metadata"].(Marks); ok {
			maps.Copy(metadata, given)
		}
		maps.Copy(metadata, o.Marks)
		body["metadata"] = metadata
	}
	var answer map[string]*Item
	_, err := s.Post(ctx, s.ServiceURL(o.Kind.Collection), map[string]any{o.Kind.Member: body}, &answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted},
	})
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", o.Kind.Member, err)
	}
	made := answer[o.Kind.Member]
	if made == nil || made.ID == "" {
		return nil, fmt.Errorf("the answer does not name the new %s", o.Kind.Member)
	}
	return made, nil
}

// Find lists the items of the order.
func (s *Service) Find(ctx context.Context, o Order) ([]Item, error) {
	items, err := openstack.List[Item](ctx, s.ServiceClient, o.Kind.Listing, o.Kind.Collection, o.Query)
	return slices.DeleteFunc(items, func(i Item) bool { return !o.recognizes(&i) }), err
}
