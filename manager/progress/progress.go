// SPDX-License-Identifier: Apache-2.0

// Package progress records the progress of operations: in marks of the journal, from which another
// worker can resume, and in the rows that karbor-api shows.
package progress

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
)

// The prefixes of the keys of marks: the progress of a resource's hooks, the state that its plugin
// keeps, the reports of hooks on a resource of a restore or verification, the digests of the
// objects that hooks have written, and their remarks.
const (
	ResourceMarks = "p/"
	stateMarks    = "s/"
	ReportMarks   = "r/"
	objectMarks   = "d/"
	RemarkMarks   = "m/"
)

// longestKey is the maximum length of a mark's key in a journal.
const longestKey = 400

// markKey returns the key of a resource's mark. It replaces a long name by its digest.
func markKey(prefix, resource string) string {
	if len(prefix+resource) <= longestKey {
		return prefix + resource
	}
	sum := sha256.Sum256([]byte(resource))
	return prefix + "sha256:" + hex.EncodeToString(sum[:])
}

// State is the state of a resource in an operation.
type State string

// The states of a resource.
const (
	Waiting  State = "waiting"
	Running  State = "running"
	Finished State = "finished" // the next hook may start
	Failed   State = "failed"
)

// Resource is the progress of one resource in an operation.
type Resource struct {
	Type string `json:"resource_type"`
	ID   string `json:"resource_id"`
	// Hook is the hook that runs, or ran last; empty before the first.
	Hook  string `json:"hook"`
	State State  `json:"state"`
	// Percent is the progress of the hook, if its service reports it.
	Percent   int        `json:"percent,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"` // of the hook
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`

	// Hooks are all hooks of the resource, in order.
	Hooks []string `json:"hooks,omitempty"`
	// Done are the hooks that have finished and never run again.
	Done []string `json:"done,omitempty"`
	// Restored are the new resources that the hooks of this one have created, by the original ids.
	Restored map[string]string `json:"restored,omitempty"`
}

// Key returns the key of the resource.
func (r *Resource) Key() resource.Key { return resource.Key{Type: r.Type, ID: r.ID} }

func (r *Resource) clone() Resource {
	c := *r
	c.Done = slices.Clone(r.Done)
	c.Restored = maps.Clone(r.Restored)
	return c
}

func (r *Resource) start(hook string, now time.Time) {
	r.Hook, r.State, r.Percent, r.StartedAt, r.EndedAt, r.Error = hook, Running, 0, &now, nil, ""
}

func (r *Resource) finish(hook string, now time.Time, restored map[string]string) {
	r.State, r.EndedAt, r.Percent = Finished, &now, 0
	r.Done = append(r.Done, hook)
	if r.Restored == nil {
		r.Restored = restored
		return
	}
	maps.Copy(r.Restored, restored)
}

func (r *Resource) fail(now time.Time, reason string) {
	r.State, r.EndedAt, r.Error = Failed, &now, reason
}

// Report is a hook's report on a resource.
type Report struct {
	Resource string `json:"resource"` // type#id; for a restore, of the new resource
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

// object is an object that a hook has written, by its name in the checkpoint, with its SHA-256, or
// "" if it was deleted.
type object struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}
