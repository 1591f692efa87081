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

// Answers bounds the answers of listings. Zero means no bound.
type Answers struct {
	// Bytes bounds one answer, as encoded for sending.
	Bytes int
	// Total bounds all answers that are in the making. It is at least Bytes.
	Total int
}

// listings builds answers from entries, within bounds.
type listings struct {
	most int
	room *semaphore.Weighted // nil if there is no bound
}

func newListings(a Answers) *listings {
	l := &listings{most: a.Bytes}
	if a.Total > 0 {
		l.room = semaphore.NewWeighted(int64(max(a.Total, a.Bytes)))
	}
	return l
}

// begin begins an answer. The caller must call done.
func (l *listings) begin() *listing { return &listing{of: l, text: rpc.Encoded{'['}} }

// listing is the answer of one listing. Each entry is encoded as soon as it is known, so that only
// its encoding is held in memory.
type listing struct {
	of    *listings
	text  rpc.Encoded
	size  int // encoded for sending
	taken int64
}

// add appends an entry. It fails with InvalidInput if the answer becomes too large, or if the
// answers of concurrent listings leave no room. It does not wait, since listings that all wait for
// room would deadlock.
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

// answer returns the JSON of the list.
func (l *listing) answer() rpc.Encoded { return append(l.text, ']') }

// done releases the room that the listing has taken.
func (l *listing) done() {
	if l.of.room != nil {
		l.of.room.Release(l.taken)
	}
}

// sent returns the size of an entry and its comma in a message, which has JSON in a string of JSON.
func sent(text []byte) int {
	return len(text) + bytes.Count(text, []byte{'"'}) + bytes.Count(text, []byte{'\\'}) + 1
}
