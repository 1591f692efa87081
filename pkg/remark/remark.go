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

// What is kept of the remarks of one operation: so many, each text cut, and so many bytes
// of all, for an answer with all of them has to pass the broker.
const (
	MaxKept  = 10_000
	MaxText  = 1 << 10
	MaxBytes = 8 << 20
)

// Remark says of one aspect of a resource that it is not as it was.
type Remark struct {
	// Resource is the one in the checkpoint, also when it was restored as another.
	Resource Resource `json:"resource"`
	// Aspect is one of those in docs/plugins.md.
	Aspect string `json:"aspect"`
	// Was is how it was, and Is how it is now; "" is not at all.
	Was string `json:"was"`
	Is  string `json:"is"`
	Why string `json:"why"`
}

// Resource names a resource.
type Resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Key returns the same text for remarks that say the same, for whatever reason: the reason of a
// second run may name another request.
func (r Remark) Key() string {
	r.Why = ""
	text, _ := json.Marshal(r) // a struct of strings encodes
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// String says it on one line.
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

// cut shortens the texts of a remark to what is kept.
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

// longestText is how long a Text may become before the rest is counted.
const longestText = 4096

// Text says remarks on one line, the last ones by their number if there are many.
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
	// Version is that of the form.
	Version int      `json:"version"`
	Remarks []Remark `json:"remarks"` // in order
	// More is how many there were beyond those, about: one that is made again after a
	// crash may count twice.
	More int `json:"more,omitempty"`
}

// Version is the form of documents that this version writes, and reads.
const Version = 1

// Empty reports whether nothing was remarked.
func (d Document) Empty() bool { return len(d.Remarks) == 0 && d.More == 0 }

// Merge returns a document with what both of two say.
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

// Add adds a remark, in place of one that says the same for another reason. It returns the
// remark as it is kept, and false if there is no room, when it is counted.
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

// More returns how many remarks were counted for want of room.
func (l *List) More() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.more
}

// SetMore sets how many remarks were counted.
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
