// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

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
	// Progress is the property that tells how far one is, "42%"; "" if there is none.
	Progress string
}

// status is what a wait sees of an item.
func (k Kind) status(i *Item) poll.Status {
	s := poll.Status{Text: i.Status}
	var told map[string]json.RawMessage
	if k.Progress == "" || i.Decode(&told) != nil {
		return s
	}
	var progress string
	if json.Unmarshal(told[k.Progress], &progress) == nil {
		s.Percent, _ = strconv.Atoi(strings.TrimSuffix(progress, "%"))
	}
	return s
}

// Item has the fields that all services show of a thing.
type Item struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Status      string            `json:"status"`
	Size        float64           `json:"size"` // GiB; null reads as 0, Trove's are fractions
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
