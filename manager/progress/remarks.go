// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"encoding/json"
	"sync"

	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
)

// moreMark counts the remarks for which there was no room. Its prefix is RemarkMarks.
const moreMark = RemarkMarks + "more"

// Remarks collects the remarks of the hooks of one operation, in memory at once, and in the journal
// before anything that is saved or finished later. It is safe for concurrent use.
type Remarks struct {
	marks *MarkWriter // nil if the remarks are only read

	mu   sync.Mutex // keeps marks in the order in which the list changes
	list *remark.List
}

var _ protection.Remarks = (*Remarks)(nil)

// NewRemarks returns remarks that are recorded by marks.
func NewRemarks(marks *MarkWriter) *Remarks { return &Remarks{marks: marks, list: &remark.List{}} }

// ReadRemarks returns the remarks in an operation's RemarkMarks.
func ReadRemarks(marks []journal.Mark) (remark.Document, error) {
	r := NewRemarks(nil)
	for _, m := range marks {
		if err := r.recall(m); err != nil {
			return remark.Document{}, err
		}
	}
	return r.Document(), nil
}

// Add implements protection.Remarks.
func (r *Remarks) Add(one remark.Remark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept, ok := r.list.Add(one); ok {
		r.marks.Note(RemarkMarks+kept.Key(), kept)
	} else {
		r.marks.Note(moreMark, r.list.More())
	}
}

// Of implements protection.Remarks.
func (r *Remarks) Of(resource remark.Resource) []remark.Remark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list.Of(resource)
}

// Document returns all remarks.
func (r *Remarks) Document() remark.Document {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list.Document()
}

func (r *Remarks) recall(m journal.Mark) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Key == moreMark {
		var more int
		err := json.Unmarshal(m.Value, &more)
		r.list.SetMore(more)
		return err
	}
	var one remark.Remark
	if err := json.Unmarshal(m.Value, &one); err != nil {
		return err
	}
	r.list.Add(one)
	return nil
}

func (r *Remarks) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = &remark.List{}
}
