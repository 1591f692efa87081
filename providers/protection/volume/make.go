// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
)

// Made is what a State remembers of an item that is made once.
type Made struct {
	// Asked: Cinder has been, or is about to be, asked for it.
	Asked bool   `json:"asked,omitempty"`
	ID    string `json:"id,omitempty"`
	Size  int    `json:"size,omitempty"` // GiB
	// Doubt: a run has asked and does not know the answer, so that there may be
	// one more, even if it was not to be found at once.
	Doubt bool `json:"doubt,omitempty"`
}

// Order is an item that is made once.
type Order struct {
	Kind  Kind
	Marks Marks
	// VolumeID is the volume of a snapshot or backup.
	VolumeID string
	// Body holds the properties of the item, but for the metadata.
	Body map[string]any
	// Made is a part of the hook's state, and Save saves that state.
	Made *Made
	Save func() error
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
	o.Made.ID, o.Made.Size = made.ID, made.Size
	return o.Save()
}

// adopt looks for the item of an earlier run, and notes it if it is there.
func (s *Service) adopt(ctx context.Context, o Order) (bool, error) {
	found, err := s.Find(ctx, o)
	if err != nil || len(found) == 0 {
		return false, err
	}
	o.Made.Asked, o.Made.ID, o.Made.Size = true, found[0].ID, found[0].Size
	return true, o.Save()
}

func (s *Service) create(ctx context.Context, o Order) (*Item, error) {
	body := map[string]any{"metadata": o.Marks}
	for name, value := range o.Body {
		body[name] = value
	}
	var answer map[string]*Item
	_, err := s.Post(ctx, s.ServiceURL(o.Kind.collection), map[string]any{o.Kind.member: body}, &answer, nil)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", o.Kind.member, err)
	}
	made := answer[o.Kind.member]
	if made == nil || made.ID == "" {
		return nil, fmt.Errorf("the answer does not name the new %s", o.Kind.member)
	}
	return made, nil
}

// Find lists the items that carry the marks of the order.
func (s *Service) Find(ctx context.Context, o Order) ([]Item, error) {
	query := url.Values{}
	switch {
	case o.VolumeID != "":
		query.Set("volume_id", o.VolumeID)
	default:
		marks, err := json.Marshal(o.Marks)
		if err != nil {
			return nil, err
		}
		query.Set("metadata", string(marks))
	}
	items, err := openstack.List[Item](ctx, s.ServiceClient, o.Kind.collection+"/detail", o.Kind.collection, query)
	return slices.DeleteFunc(items, func(i Item) bool { return !o.Marks.on(&i) }), err
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

// Sweep deletes all that carries the marks of an order, and its item if there is
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
		left = append(left, fmt.Sprintf("a %s may be left behind: %s", kind.member, Reason(err)))
		failures = append(failures, err)
	}
	for _, i := range items {
		if err := s.Delete(ctx, kind, i.ID); err != nil {
			left = append(left, fmt.Sprintf("%s %s is left behind: %s", kind.member, i.ID, Reason(err)))
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &Failure{Text: strings.Join(left, "; "), Err: errors.Join(failures...)}
}
