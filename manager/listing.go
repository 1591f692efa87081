// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"bytes"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

// Answers bounds what listings answer. 0 is no bound.
type Answers struct {
	// Bytes bounds one answer, as it is sent.
	Bytes int
	// Total bounds all listings together that are being made. It is at least Bytes.
	Total int
}

// listings makes answers out of entries, within bounds.
type listings struct {
	most int
	room *semaphore.Weighted // nil is no bound
}

func newListings(a Answers) *listings {
	l := &listings{most: a.Bytes}
	if a.Total > 0 {
		l.room = semaphore.NewWeighted(int64(max(a.Total, a.Bytes)))
	}
	return l
}

// begin begins an answer; its maker calls done.
func (l *listings) begin() *listing { return &listing{of: l, text: rpc.Encoded{'['}} }

// listing is the answer of one listing. An entry is encoded as soon as it is known, so
// that no more is held of it than what is sent.
type listing struct {
	of    *listings
	text  rpc.Encoded
	size  int // as it is sent
	taken int64
}

// add takes one more entry. It fails with InvalidInput when the answer gets too large, or
// when there is no room beside the listings that others ask for. It does not wait:
// listings that all wait for room would never get any.
func (l *listing) add(entry any) error {
	text, ok := entry.(rpc.Encoded)
	if !ok {
		var err error
		if text, err = json.Marshal(entry); err != nil {
			return fmt.Errorf("encoding an entry of a listing: %w", err)
		}
	}
	size := sent(text)
	if l.of.most > 0 && l.size+size > l.of.most {
		return fault.InvalidInput(fmt.Sprintf("The answer takes more than %d bytes (max_answer_bytes): ask for less, where there are limit and marker with them.", l.of.most))
	}
	if l.of.room != nil {
		if !l.of.room.TryAcquire(int64(size)) {
			return fault.InvalidInput("The listings that are being made take as many bytes as there may be (max_listing_bytes): ask again later.")
		}
		l.taken += int64(size)
	}
	l.size += size
	if len(l.text) > 1 {
		l.text = append(l.text, ',')
	}
	l.text = append(l.text, text...)
	return nil
}

// answer is the JSON of the list.
func (l *listing) answer() rpc.Encoded { return append(l.text, ']') }

// done gives back the room that the listing has taken.
func (l *listing) done() {
	if l.of.room != nil {
		l.of.room.Release(l.taken)
	}
}

// sent is the size of an entry and its comma in a message: JSON within a string of JSON.
func sent(text []byte) int {
	return len(text) + bytes.Count(text, []byte{'"'}) + bytes.Count(text, []byte{'\\'}) + 1
}
