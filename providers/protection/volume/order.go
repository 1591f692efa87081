// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"encoding/json"
	"net/url"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Of returns the order of a snapshot or backup of the volume that a call is about.
func Of(c *protection.Call, kind remote.Kind) remote.Order {
	return remote.Order{Kind: kind, Marks: remote.MarksOf(c), Query: url.Values{"volume_id": {c.Resource.ID}}}
}

// New returns the order of a new volume with marks.
func New(marks remote.Marks) remote.Order {
	text, err := json.Marshal(marks)
	if err != nil {
		panic(err) // a map of strings
	}
	return remote.Order{Kind: Volumes, Marks: marks, Query: url.Values{"metadata": {string(text)}}}
}

// Restored is the part of a State about the new volume of a restore.
type Restored struct {
	// Mark is this restore's own.
	Mark   string      `json:"mark,omitempty"`
	Volume remote.Made `json:"volume"`
}

// Order returns that of the new volume. newID makes up the mark, which is saved
// with the state before the volume is made.
func (r *Restored) Order(c *protection.Call, newID func() string, save func() error) remote.Order {
	if r.Mark == "" {
		r.Mark = newID()
	}
	o := New(remote.MarksOf(c).Restore(r.Mark))
	o.Made, o.Save = &r.Volume, save
	return o
}
