// SPDX-License-Identifier: Apache-2.0

// Package progress keeps how far operations have come, and tells of it: marks in the
// journal, by which another worker can go on, and the rows that karbor-api shows.
package progress

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
)

// The prefixes of the keys of marks: what has become of a resource's hooks, what its
// plugin keeps, what hooks have reported of a resource of a restore or verification, the
// digests of the objects that they have written, and what they have remarked.
const (
	ResourceMarks = "p/"
	stateMarks    = "s/"
	ReportMarks   = "r/"
	objectMarks   = "d/"
	RemarkMarks   = "m/"
)

// longestKey is what a journal's mark key may have.
const longestKey = 400

// markKey names the mark of a resource. A long name is replaced by its digest.
func markKey(prefix, resource string) string {
	if len(prefix+resource) <= longestKey {
		return prefix + resource
	}
	sum := sha256.Sum256([]byte(resource))
	return prefix + "sha256:" + hex.EncodeToString(sum[:])
}

// State is how a resource fares in an operation.
type State string

// The states of a resource.
const (
	Waiting  State = "waiting"
	Running  State = "running"
	Finished State = "finished" // and the next may start
	Failed   State = "failed"
)

// Resource is how far an operation has come with one resource.
type Resource struct {
	Type string `json:"resource_type"`
	ID   string `json:"resource_id"`
	// Hook is the one that runs, or ran last; empty before the first.
	Hook  string `json:"hook"`
	State State  `json:"state"`
	// Percent is how much of the hook's work is done, where its service tells.
	Percent   int        `json:"percent,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"` // of the hook
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`

	// Hooks are all that the resource has, in their order.
	Hooks []string `json:"hooks,omitempty"`
	// Done are the hooks that have finished and never run again.
	Done []string `json:"done,omitempty"`
	// Restored are the new resources that the hooks of this one have made, by
	// the ids of the original ones.
	Restored map[string]string `json:"restored,omitempty"`
}

// Key names the resource.
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

// Report is what a hook has reported of a resource.
type Report struct {
	Resource string `json:"resource"` // type#id; of a restore, the new one
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

// object is what a hook has written: an object of the checkpoint by its name, with its
// SHA-256, or "" when it was deleted.
type object struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}
