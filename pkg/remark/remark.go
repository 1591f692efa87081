// SPDX-License-Identifier: Apache-2.0

// Package remark tells users which parts of a resource changed, or will not come back,
// although the operation succeeded: an address that was taken meanwhile, a key pair that is
// gone, a service that the cloud does not have.
package remark

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Bounds on the remarks of one operation: their number, the size of each text, and the
// total size, because an answer with all remarks has to pass the broker.
const (
	MaxKept  = 10_000
	MaxText  = 1 << 10
	MaxBytes = 8 << 20
)

// Remark states that one aspect of a resource is not as it was.
type Remark struct {
	// Resource is the resource in the checkpoint, even if it was restored under another
	// id.
	Resource Resource `json:"resource"`
	// Aspect is one of the aspects in docs/plugins.md.
	Aspect string `json:"aspect"`
	// Was is the former value and Is the present one; "" means absent.
	Was string `json:"was"`
	Is  string `json:"is"`
	Why string `json:"why"`
}

// Resource names a resource.
type Resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Key returns the same text for remarks that differ only in their reasons: the reason
// of a second run may name another request.
func (r Remark) Key() string {
	r.Why = ""
	text, _ := json.Marshal(r) // a struct of strings encodes
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// String returns the remark on one line.
func (r Remark) String() string {
	text := r.Aspect + ": "
	if r.Was != "" {
		text += "was " + r.Was + ", "
	}
	text += "is " + cmp.Or(r.Is, "none")
	if r.Why != "" {
		text += " (" + r.Why + ")"
	}
	return text
}

// cut shortens the texts of a remark to the bounds.
func (r Remark) cut() Remark {
	for _, text := range []*string{&r.Resource.Type, &r.Resource.ID, &r.Aspect, &r.Was, &r.Is, &r.Why} {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
		if len(*text) > MaxText {
			*text = strings.ToValidUTF8((*text)[:MaxText-len(ellipsis)], "") + ellipsis
		}
	}
	return r
}

const ellipsis = "..."

func (r Remark) size() int {
	return len(r.Resource.Type) + len(r.Resource.ID) + len(r.Aspect) + len(r.Was) + len(r.Is) + len(r.Why)
}

func compare(a, b Remark) int {
	return cmp.Or(cmp.Compare(a.Resource.Type, b.Resource.Type), cmp.Compare(a.Resource.ID, b.Resource.ID),
		cmp.Compare(a.Aspect, b.Aspect), cmp.Compare(a.Was, b.Was), cmp.Compare(a.Is, b.Is))
}

// longestText is the size of a Text beyond which the remaining remarks are only
// counted.
const longestText = 4096

// Text returns remarks on one line; if there are many, the last ones are only counted.
func Text(remarks []Remark) string {
	var text strings.Builder
	for i, r := range remarks {
		if text.Len() > longestText {
			fmt.Fprintf(&text, "; and %d more", len(remarks)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(r.String())
	}
	return text.String()
}

// Document holds the remarks of an operation or a checkpoint.
type Document struct {
	// Version is the version of the document's form.
	Version int      `json:"version"`
	Remarks []Remark `json:"remarks"` // in order
	// More is the approximate number of further remarks: a remark that is made again
	// after a crash may count twice.
	More int `json:"more,omitempty"`
}

// Version is the form of documents that this package writes and reads.
const Version = 1

// Empty reports whether there are no remarks.
func (d Document) Empty() bool { return len(d.Remarks) == 0 && d.More == 0 }

// Merge returns a document with the remarks of both.
func Merge(a, b Document) Document {
	l := &List{more: a.More + b.More}
	for _, r := range append(slices.Clone(a.Remarks), b.Remarks...) {
		l.Add(r)
	}
	return l.Document()
}

// List collects remarks, each once. The zero value is empty. It is safe for concurrent use.
type List struct {
	mu    sync.Mutex
	kept  map[string]Remark // by Key
	bytes int
	more  int
}

// Add adds a remark, or replaces one that differs only in its reason. It returns the
// remark as stored, and false if there was no room and the remark was only counted.
func (l *List) Add(r Remark) (Remark, bool) {
	r = r.cut()
	l.mu.Lock()
	defer l.mu.Unlock()
	before, again := l.kept[r.Key()]
	bytes := l.bytes + r.size() - before.size()
	if !again && len(l.kept) >= MaxKept || bytes > MaxBytes {
		if !again {
			l.more++
		}
		return before, again
	}
	if l.kept == nil {
		l.kept = map[string]Remark{}
	}
	l.kept[r.Key()], l.bytes = r, bytes
	return r, true
}

// Of returns the remarks on a resource, in order.
func (l *List) Of(r Resource) []Remark {
	return slices.DeleteFunc(l.Document().Remarks, func(one Remark) bool { return one.Resource != r })
}

// More returns the number of remarks that were only counted.
func (l *List) More() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.more
}

// SetMore sets the number of remarks that were only counted.
func (l *List) SetMore(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more = n
}

// Document returns all remarks.
func (l *List) Document() Document {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.AppendSeq([]Remark{}, maps.Values(l.kept)) // none is a list too
	slices.SortFunc(all, compare)
	return Document{Version: Version, Remarks: all, More: l.more}
}
