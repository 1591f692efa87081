// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"fmt"
	"maps"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
)

// Marks are metadata that tell whose a thing is.
type Marks map[string]string

// Keys of marks. A restore has a mark of its own: the same checkpoint may be
// restored more than once.
const (
	checkpointMark = "karbor_checkpoint_id"
	resourceMark   = "karbor_resource_id"
	restoreMark    = "karbor_restore"
	temporaryMark  = "karbor_temporary"
)

// MarksOf returns the marks of things that are made for a resource of a checkpoint.
func MarksOf(c *protection.Call) Marks {
	return Marks{checkpointMark: c.Checkpoint.ID(), resourceMark: c.Resource.ID}
}

// Restore returns the marks of things that one restore makes; id is the restore's.
func (m Marks) Restore(id string) Marks {
	marks := maps.Clone(m)
	marks[restoreMark] = id
	return marks
}

// Temporary returns the marks of temporary things, so that none is taken for a restored
// one.
func (m Marks) Temporary() Marks {
	marks := maps.Clone(m)
	marks[temporaryMark] = "true"
	return marks
}

// on reports whether an item carries all the marks.
func (m Marks) on(i *Item) bool {
	for key, value := range m {
		if i.Metadata[key] != value {
			return false
		}
	}
	return true
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

// DescribedFor returns what recognizes an item by the mark in its description.
func DescribedFor(c *protection.Call) func(*Item) bool {
	mark := Mark(c)
	return func(i *Item) bool { return strings.HasSuffix(i.Description, mark) }
}
