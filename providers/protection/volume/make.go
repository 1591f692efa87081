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
// size. The item is on its way when Make returns. What it was that ended the earlier run
// shows in the item's status.
func (s *Service) Make(ctx context.Context, c *protection.Call, o Order) error {
	if o.Made.ID != "" {
		return nil
	}
	if o.Made.Asked || c.State == nil {
		found, err := s.Find(ctx, o)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			*o.Made = Made{Asked: true, ID: found[0].ID, Size: found[0].Size}
			return o.Save()
		}
	}
	o.Made.Asked = true
	if err := o.Save(); err != nil {
		return err
	}
	body := map[string]any{"metadata": o.Marks}
	for name, value := range o.Body {
		body[name] = value
	}
	var answer map[string]Item
	_, err := s.Post(ctx, s.ServiceURL(o.Kind.collection), map[string]any{o.Kind.member: body}, &answer, nil)
	if err != nil {
		return fmt.Errorf("create %s: %w", o.Kind.member, err)
	}
	made := answer[o.Kind.member]
	if made.ID == "" {
		return fmt.Errorf("the answer does not name the new %s", o.Kind.member)
	}
	o.Made.ID, o.Made.Size = made.ID, made.Size
	return o.Save()
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
	items, err := s.Find(ctx, o)
	var left []string
	var failures []error
	if err != nil {
		left = append(left, fmt.Sprintf("a %s may be left behind: %s", o.Kind.member, Reason(err)))
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
			left = append(left, fmt.Sprintf("%s %s is left behind: %s", o.Kind.member, id, Reason(err)))
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &Failure{Text: strings.Join(left, "; "), Err: errors.Join(failures...)}
}
