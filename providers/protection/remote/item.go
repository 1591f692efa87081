// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Kind is a kind of thing at a service.
type Kind struct {
	Service    string // "manila"
	Collection string // "snapshots", in paths and in the answer to a listing
	Listing    string // path of the listing, "snapshots/detail"
	Member     string // "snapshot", in bodies and texts
	// Refusals are the HTTP codes with which the service refuses to delete one
	// that is busy. Settled are the statuses in which a refused deletion is tried
	// again, and those to wait for till then.
	Refusals []int
	Settled  poll.Statuses
	// Going are the statuses of one that is deleted; Success has poll.NotFound.
	Going poll.Statuses
}

// Item is what the services have in common in what they tell of a thing.
type Item struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Status      string            `json:"status"`
	Metadata    map[string]string `json:"metadata"`

	whole json.RawMessage
}

// UnmarshalJSON keeps the rest for Decode.
func (i *Item) UnmarshalJSON(text []byte) error {
	type plain Item // without this method
	if err := json.Unmarshal(text, (*plain)(i)); err != nil {
		return err
	}
	i.whole = append(json.RawMessage{}, text...)
	return nil
}

// Decode reads all that the service told of the thing into v, a pointer.
func (i *Item) Decode(v any) error {
	if err := json.Unmarshal(i.whole, v); err != nil {
		return fmt.Errorf("read %s: %w", i.ID, err)
	}
	return nil
}

// Keys of marks in metadata.
const (
	checkpointMark = "karbor_checkpoint_id"
	resourceMark   = "karbor_resource_id"
	restoreMark    = "karbor_restore"
)

// Marks returns the metadata of what a restore makes. restore is its own id: the
// same checkpoint may be restored more than once.
func Marks(c *protection.Call, restore string) map[string]string {
	return map[string]string{checkpointMark: c.Checkpoint.ID(), resourceMark: c.Resource.ID, restoreMark: restore}
}

// Carries returns the rule by which things with these metadata are recognized.
func Carries(marks map[string]string) func(*Item) bool {
	return func(i *Item) bool {
		for key, value := range marks {
			if i.Metadata[key] != value {
				return false
			}
		}
		return true
	}
}

// longest is what the services take as a description.
// manila: db/sqlalchemy/models.py, trove: common/apischema.py
const longest = 255

// Mark is the text, for users too, that tells in a description whose a thing is.
func Mark(c *protection.Call) string {
	return fmt.Sprintf("[karbor checkpoint %s resource %s]", c.Checkpoint.ID(), c.Resource.ID)
}

// Described returns a description with the mark at its end. One that is too long
// for both is cut.
func Described(c *protection.Call, description string) string {
	mark := Mark(c)
	if description == "" {
		return mark
	}
	text := []rune(description)
	return string(text[:min(len(text), longest-len(mark)-1)]) + " " + mark
}
