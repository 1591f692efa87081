// SPDX-License-Identifier: Apache-2.0

// Package progress shows how far an operation has come: on a terminal as a
// picture that is drawn again and again, elsewhere as a line for each change.
package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/remark"
)

// Operation is an operation as workers show it. Resources are the resources whose turn has
// come, and the others as far as the worker knows them.
// manager/operation: View, Detail
type Operation struct {
	ID           string     `json:"id"`
	Type         string     `json:"operation_type"`
	Status       string     `json:"status"`
	ProjectID    string     `json:"project_id"`
	ProviderID   string     `json:"provider_id"`
	CheckpointID string     `json:"checkpoint_id"`
	PlanID       string     `json:"plan_id"`
	RecordID     string     `json:"record_id"`
	Owner        string     `json:"owner"`
	Generation   int64      `json:"generation"`
	CreatedAt    time.Time  `json:"created_at"`
	StartedAt    *time.Time `json:"started_at"`
	EndedAt      *time.Time `json:"ended_at"`
	CancelledBy  string     `json:"cancelled_by"`
	Reason       string     `json:"reason"`
	Position     int        `json:"position"`
	Resources    []Resource `json:"resources"`
	Remarked
}

// Remarked has the remarks on resources, and the number of further ones.
type Remarked struct {
	Remarks []remark.Remark `json:"remarks"`
	More    int             `json:"more_remarks,omitempty"`
}

// Resource is one of an operation's. manager/operation: Progress
type Resource struct {
	Type      string     `json:"resource_type"`
	ID        string     `json:"resource_id"`
	Hook      string     `json:"hook"`
	State     string     `json:"state"`
	Percent   int        `json:"percent"` // of the hook; 0 where nobody tells
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Error     string     `json:"error"`
	Hooks     []string   `json:"hooks"` // in their order; nil where the worker that tells does not know
	Done      []string   `json:"done"`  // those that have ended well
}

// The statuses of an operation.
const (
	Queued    = "queued"
	Running   = "running"
	Succeeded = "succeeded"
	Failed    = "failed"
	Cancelled = "cancelled"
)

// The states of a resource.
const (
	running  = "running"
	finished = "finished"
	failed   = "failed"
)

// Ended reports whether the operation is over. A status that only a later worker
// knows counts as over once there is a time for it.
func (o *Operation) Ended() bool {
	return o.Status != Queued && o.Status != Running && o.EndedAt != nil
}

// mainHook is the hook that does most of the work, in resources that have it.
const mainHook = "on_main"

// heavy is the hook that counts for the work on the resource.
func (r *Resource) heavy() string {
	if len(r.Hooks) == 0 || slices.Contains(r.Hooks, mainHook) {
		return mainHook
	}
	return r.Hooks[len(r.Hooks)-1]
}

// done reports whether all hooks have ended: the last one may wait long for the
// resources that this one depends on.
func (r *Resource) done() bool {
	return len(r.Hooks) > 0 && r.State == finished && r.ended() == len(r.Hooks)
}

// ended is the number of hooks that have.
func (r *Resource) ended() int {
	n := 0
	for _, hook := range r.Hooks {
		if slices.Contains(r.Done, hook) {
			n++
		}
	}
	return n
}

// Steps says how many of its hooks have ended, nothing where they are not known.
func (r *Resource) Steps() string {
	if len(r.Hooks) == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", r.ended(), len(r.Hooks))
}

// counts are how many resources are done, of how many, and how much of the work
// that is in percent, if all have an equal share of it.
func (o *Operation) counts() (done, total, percent int) {
	total = len(o.Resources)
	if total == 0 {
		return 0, 0, 0
	}
	if o.Status == Succeeded {
		return total, total, 100
	}
	shares := 0
	for i := range o.Resources {
		r := &o.Resources[i]
		if r.done() {
			done++
		}
		switch {
		case slices.Contains(r.Done, r.heavy()):
			shares += 100
		case r.State == running && r.Hook == r.heavy():
			shares += min(max(r.Percent, 0), 100)
		}
	}
	percent = shares / total
	if done < total {
		percent = min(percent, 99)
	}
	return done, total, percent
}

// Summary returns a line about the operation: its kind, progress and duration.
func (o *Operation) Summary(now time.Time) string {
	parts := []string{o.state()}
	if done, total, percent := o.counts(); total > 0 && o.Status != Queued {
		parts = append(parts, fmt.Sprintf("%d/%d done", done, total), fmt.Sprintf("%d%%", percent))
	}
	return strings.Join(append(parts, Elapsed(o.elapsed(now))), ", ")
}

// state returns type and status, and for an unfinished operation its progress.
func (o *Operation) state() string {
	text := o.Type + " " + o.Status
	switch {
	case o.Ended():
	case o.CancelledBy != "":
		text += ", is being cancelled"
	case o.Position > 0:
		text += fmt.Sprintf(" at place %d", o.Position)
	}
	return text
}

func (o *Operation) elapsed(now time.Time) time.Duration {
	from := o.CreatedAt
	if o.StartedAt != nil {
		from = *o.StartedAt
	}
	if o.EndedAt != nil {
		now = *o.EndedAt
	}
	return now.Sub(from)
}

// Elapsed writes a time in seconds. Clocks of two machines may differ: what
// would be less than nothing is nothing.
func Elapsed(d time.Duration) string { return max(d, 0).Truncate(time.Second).String() }

func (r *Resource) name() string { return r.Type + " " + r.ID }

// line is what a resource does.
func (r *Resource) line() string {
	text := r.name() + " " + r.Hook + " " + r.State
	if r.State == running && r.Percent > 0 {
		text += fmt.Sprintf(" %d%%", r.Percent)
	}
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}
