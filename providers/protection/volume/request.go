// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"encoding/json"
	"net/url"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Copy returns the request for a snapshot or backup of the volume that a session is
// about.
func Copy(s *remote.Session, kind remote.Kind, created *remote.Created) *remote.Request {
	id := s.Call.Resource.ID
	return &remote.Request{
		Session: s, Kind: kind, Created: created, Ready: Taken, Marks: remote.MarksOf(s.Call),
		Query: url.Values{"volume_id": {id}}, Body: map[string]any{"volume_id": id},
	}
}

// New returns the request for a new volume with marks.
func New(s *remote.Session, marks remote.Marks, created *remote.Created) *remote.Request {
	text, err := json.Marshal(marks)
	if err != nil {
		panic(err) // a map of strings
	}
	return &remote.Request{
		Session: s, Kind: Volumes, Created: created, Ready: Created, Marks: marks,
		Query: url.Values{"metadata": {string(text)}}, Body: map[string]any{},
	}
}

// Restored is the part of a State about the new volume of a restore.
type Restored struct {
	// Mark is this restore's own.
	Mark   string         `json:"mark,omitempty"`
	Volume remote.Created `json:"volume"`
}

// Request returns the request for the new volume. The mark is saved with the state
// before the volume is made.
func (r *Restored) Request(s *remote.Session) *remote.Request {
	if r.Mark == "" {
		r.Mark = uuid.NewString()
	}
	return New(s, remote.MarksOf(s.Call).Restore(r.Mark), &r.Volume)
}
