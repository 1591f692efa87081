// SPDX-License-Identifier: Apache-2.0

package history

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Request is a call that starts an operation, as its caller knows it.
type Request struct {
	Kind       string // protect, restore, verify, delete, copy
	Plan       string // of a protection, and of a copy of all checkpoints of a plan
	Checkpoint string // of the others
	Image      string // of a restore: the name, unlike all others, that its image is to have
	Answered   bool   // without an error; else it may have begun or not
	Result     string // then: the new checkpoint, or the record of a restore or verification
	// Cancelled tells that its end was asked for, and that this was answered, while
	// it was in the midst of its work.
	Cancelled bool
}

// State is what is there in the end, when the workers have stopped.
type State struct {
	Operations []Operation
	Logs       []Log
	Records    []Record
	// Strays is the number of rows of the journal that belong to no operation.
	Strays  int
	Objects map[string][]byte // of the bank, by key
	// Copies tells that the plugin copies data into the bank, and does not only
	// say so.
	Copies bool
	Images []Image // that restores have made
	// Leases are the owners whose leases are there, and whether these end by
	// themselves.
	Leases map[string]bool
	Queues map[string]int    // messages that nobody has taken
	Texts  map[string]string // what people and programs can read: logs, tables
}

// Operation is a row of the journal.
type Operation struct {
	ID, Kind, Checkpoint, Plan, Record string
	Ended                              bool
	Outcome                            string
	CancelledBy                        string
}

// Log is a row of operation_logs, whose id is the operation's.
type Log struct {
	ID, Status string
	Closed     bool
}

// Record is a row of restores or verifications.
type Record struct{ ID, Kind, Status string }

// Image is an image in Glance.
type Image struct{ ID, Name, Status string }

// checkpoint is an index.json, as far as the judge reads it.
type checkpoint struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Provider  string `json:"provider_id"`
	Project   string `json:"project_id"`
	CreatedAt string `json:"created_at"`
	Timestamp int64  `json:"timestamp"`
	Plan      struct {
		ID        string `json:"id"`
		Resources []struct {
			ID string `json:"id"`
		} `json:"resources"`
	} `json:"protection_plan"`
}

// ofCheckpoint returns the checkpoint that a key of the bank belongs to, "" for
// none.
func ofCheckpoint(key string) string {
	if rest, ok := strings.CutPrefix(key, "/checkpoints/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		return id
	}
	if strings.HasPrefix(key, "/indices/") {
		_, id, _ := strings.Cut(key[strings.LastIndex(key, "/"):], "@")
		return id
	}
	return ""
}

// checkpoints reads the bank's index.json, and the ids of those that cannot be
// read.
func (s *State) checkpoints() (read []checkpoint, broken []string) {
	for _, key := range s.keys() {
		if !strings.HasPrefix(key, "/checkpoints/") || strings.Count(key, "/") != 3 || !strings.HasSuffix(key, "/index.json") {
			continue
		}
		var c checkpoint
		if err := json.Unmarshal(s.Objects[key], &c); err != nil || c.ID != ofCheckpoint(key) {
			broken = append(broken, key)
			continue
		}
		read = append(read, c)
	}
	return read, broken
}

func (s *State) keys() []string { return slices.Sorted(maps.Keys(s.Objects)) }

// operations are in a fixed order.
func (s *State) operations() []Operation {
	return slices.SortedFunc(slices.Values(s.Operations), func(a, b Operation) int { return cmp.Compare(a.ID, b.ID) })
}
