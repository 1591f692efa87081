// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"maps"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Kind is a kind of resource of Cinder.
type Kind struct {
	collection string // "volumes", in paths and listings
	member     string // "volume", in bodies and texts
	// settled are the statuses in which a refused deletion may be tried again;
	// busy are those that end by themselves.
	settled, busy []string
}

// The kinds, with the statuses in which Cinder deletes them.
// cinder: objects/fields.py, volume/api.py, backup/api.py
var (
	Volumes = Kind{
		collection: "volumes", member: "volume",
		settled: []string{"available", "error", "error_restoring", "error_extending", "error_managing"},
		busy: []string{
			"creating", "deleting", "attaching", "detaching", "reserved", "backing-up", "restoring-backup",
			"downloading", "uploading", "retyping", "extending", "managing", "maintenance",
		},
	}
	Snapshots = Kind{
		collection: "snapshots", member: "snapshot",
		settled: []string{"available", "error"},
		busy:    []string{"creating", "deleting", "backing-up", "restoring", "updating"},
	}
	Backups = Kind{
		collection: "backups", member: "backup",
		settled: []string{"available", "error"},
		busy:    []string{"creating", "deleting", "restoring"},
	}
)

// Item is what is read of a volume, a snapshot or a backup.
type Item struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Size     int               `json:"size"` // GiB; null reads as 0
	Metadata map[string]string `json:"metadata"`
	// FailReason is that of a backup.
	FailReason string `json:"fail_reason"`
	// Progress is that of a snapshot, "42%".
	Progress string `json:"os-extended-snapshot-attributes:progress"`
}

func (i *Item) status() poll.Status {
	percent, _ := strconv.Atoi(strings.TrimSuffix(i.Progress, "%"))
	return poll.Status{Text: i.Status, Percent: percent}
}

// Marks are metadata that tell whose a resource is.
type Marks map[string]string

// Keys of marks. A restore has a mark of its own: the same checkpoint may be
// restored more than once.
const (
	checkpointMark = "karbor_checkpoint_id"
	resourceMark   = "karbor_resource_id"
	restoreMark    = "karbor_restore"
	temporaryMark  = "karbor_temporary"
)

// MarksOf returns the marks of what is made for a resource of a checkpoint.
func MarksOf(c *protection.Call) Marks {
	return Marks{checkpointMark: c.Checkpoint.ID(), resourceMark: c.Resource.ID}
}

// Restore returns the marks of what one restore makes; id is its own.
func (m Marks) Restore(id string) Marks {
	marks := maps.Clone(m)
	marks[restoreMark] = id
	return marks
}

// Temporary returns the marks of volumes that are needed to protect one, so that
// they are not taken for restored ones.
func (m Marks) Temporary() Marks {
	marks := maps.Clone(m)
	marks[temporaryMark] = "true"
	return marks
}

// on tells whether an item carries all the marks.
func (m Marks) on(i *Item) bool {
	for key, value := range m {
		if i.Metadata[key] != value {
			return false
		}
	}
	return true
}
