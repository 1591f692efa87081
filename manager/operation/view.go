// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// View is an operation as users see it. Times are UTC.
type View struct {
	ID           string     `json:"id"`
	Type         string     `json:"operation_type"`
	Status       string     `json:"status"` // queued, running, succeeded, failed, cancelled
	ProjectID    string     `json:"project_id"`
	ProviderID   string     `json:"provider_id"`
	CheckpointID string     `json:"checkpoint_id"`
	PlanID       string     `json:"plan_id"`
	RecordID     string     `json:"record_id"` // of the restore or verification
	Owner        string     `json:"owner"`
	Generation   int64      `json:"generation"` // number of owners so far, from 1
	CreatedAt    time.Time  `json:"created_at"`
	StartedAt    *time.Time `json:"started_at"`
	EndedAt      *time.Time `json:"ended_at"`
	CancelledBy  string     `json:"cancelled_by"`
	// Reason is why the operation failed or was cancelled, or why it does not progress.
	Reason string `json:"reason"`
	// Position is the place in this worker's queue, from 1; 0 if the operation does not wait here.
	Position int `json:"position"`
}

// Detail is a View with the progress of each resource, and the complete reports of the hooks of a
// restore or verification, for which the record in MySQL may have no room.
type Detail struct {
	View
	Resources []progress.Resource `json:"resources"`
	Reports   []progress.Report   `json:"reports,omitempty"`
	// Remarks are the hooks' remarks on resources. MoreRemarks is the approximate number of further
	// ones.
	Remarks     []remark.Remark `json:"remarks"`
	MoreRemarks int             `json:"more_remarks,omitempty"`
}

func (e *Engine) view(entry *journal.Entry, positions map[string]int) View {
	v := View{
		ID: entry.ID, Type: entry.Kind, Status: string(entry.State), ProjectID: entry.ProjectID, ProviderID: entry.ProviderID,
		CheckpointID: entry.CheckpointID, PlanID: entry.PlanID, RecordID: entry.RecordID, Owner: entry.Owner,
		Generation: entry.Generation, CreatedAt: entry.CreatedAt, StartedAt: optional(entry.StartedAt),
		EndedAt: optional(entry.EndedAt), CancelledBy: entry.CancelledBy, Reason: entry.Reason, Position: positions[entry.ID],
	}
	if entry.State == journal.Ended {
		v.Status = string(entry.Outcome)
	}
	return v
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Operations lists operations, newest first. It fails with InvalidInput for a marker that is
// unknown or not of the project.
func (e *Engine) Operations(ctx context.Context, f journal.Filter) ([]View, error) {
	entries, err := e.journal.List(ctx, f)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, NotFound(f.Marker)
	}
	if err != nil {
		return nil, unrecorded(err)
	}
	positions := e.queue.Positions()
	views := make([]View, len(entries))
	for i := range entries {
		views[i] = e.view(&entries[i], positions)
	}
	return views, e.explain(ctx, entries, views)
}

// explain adds the reasons why operations do not progress here, for operations of this worker and
// of workers that are gone.
func (e *Engine) explain(ctx context.Context, entries []journal.Entry, views []View) error {
	var live map[string]bool
	for i := range entries {
		if entries[i].State == journal.Ended {
			continue
		}
		if s, ok := e.findUnresumable(entries[i].ID); ok && entries[i].Owner == e.Tenure.ID() {
			views[i].Reason = "it cannot go on: " + fault.Detail(s.why)
			continue
		}
		err := e.Able(entries[i])
		if err == nil {
			continue
		}
		if live == nil {
			owners, err := e.journal.Owners(ctx)
			if err != nil {
				return unrecorded(err)
			}
			live = map[string]bool{}
			for _, o := range owners {
				live[o.ID] = o.Live
			}
		}
		if !live[entries[i].Owner] {
			views[i].Reason = "its worker is gone, and it waits for one that can go on with it; here: " + fault.Detail(err)
		}
	}
	return nil
}

// Operation shows one operation. The progress of an operation of another worker is as last
// recorded. It fails with InvalidInput if there is none.
func (e *Engine) Operation(ctx context.Context, id string) (*Detail, error) {
	entries, err := e.journal.List(ctx, journal.Filter{ID: id, Limit: 1})
	if err != nil {
		return nil, unrecorded(err)
	}
	if len(entries) == 0 {
		return nil, NotFound(id)
	}
	entry := &entries[0]
	views := []View{e.view(entry, e.queue.Positions())}
	if err := e.explain(ctx, entries, views); err != nil {
		return nil, err
	}
	d := &Detail{View: views[0]}
	if r := e.find(id); r != nil {
		d.Resources = r.tracker.All()
	} else if d.Resources, err = notes[progress.Resource](ctx, e, id, progress.ResourceMarks); err != nil {
		return nil, unrecorded(err)
	}
	if d.Reports, err = notes[progress.Report](ctx, e, id, progress.ReportMarks); err != nil {
		return nil, unrecorded(err)
	}
	if err := e.addRemarks(ctx, d); err != nil {
		return nil, unrecorded(err)
	}
	if entry.State != journal.Ended {
		planned, err := e.planned(ctx, id)
		if err != nil {
			return nil, unrecorded(err)
		}
		d.Resources = withWaiting(d.Resources, planned)
	}
	progress.Sort(d.Resources)
	return d, nil
}

func (e *Engine) addRemarks(ctx context.Context, d *Detail) error {
	marks, err := e.journal.Marks(ctx, d.ID, progress.RemarkMarks)
	if err != nil {
		return err
	}
	document, err := progress.ReadRemarks(marks)
	if err != nil {
		return fmt.Errorf("reading the remarks of operation %s: %w", d.ID, err)
	}
	d.Remarks, d.MoreRemarks = document.Remarks, document.More
	return nil
}

// openingTime bounds the query of the journal for a checkpoint that is about to be created.
const openingTime = 5 * time.Second

// Opening returns a checkpoint that was accepted but is not in the bank yet, as the recorded
// operation will write it: its worker had to leave it, or the bank is unavailable. It fails with
// CheckpointNotFound if there is none.
func (e *Engine) Opening(ctx context.Context, p *providers.Provider, id string) (*checkpoint.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, openingTime)
	defer cancel()
	entries, err := e.journal.List(ctx, journal.Filter{CheckpointID: id, ProviderID: p.ID, Unfinished: true})
	if err != nil {
		return nil, unrecorded(err)
	}
	for _, entry := range entries {
		if kind := protection.Kind(entry.Kind); kind != protection.Protect && kind != protection.Copy {
			continue
		}
		whole, err := e.journal.Get(ctx, entry.ID)
		if err == nil {
			_, err = e.answer(ctx, whole) // a refused operation creates no checkpoint
		}
		if err != nil {
			return nil, fault.CheckpointNotFound(id).WithCause(err)
		}
		in, err := e.trusted(whole)
		if err != nil {
			return nil, fault.CheckpointNotFound(id).WithCause(err)
		}
		return p.Checkpoints.Draft(*creation(protection.Kind(whole.Kind), in), whole.CreatedAt)
	}
	return nil, fault.CheckpointNotFound(id)
}

// Work is an operation of this worker with the current state of its hooks.
type Work struct {
	View
	Resources []progress.Resource
	Graph     *resource.Graph // nil until a hook has started
}

// Work lists the operations of this worker, oldest first, without their start times and owners.
func (e *Engine) Work() []Work {
	e.mu.Lock()
	runs := slices.Collect(maps.Values(e.runs))
	e.mu.Unlock()
	slices.SortFunc(runs, func(a, b *run) int {
		return cmp.Or(a.entry.CreatedAt.Compare(b.entry.CreatedAt), strings.Compare(a.entry.ID, b.entry.ID))
	})
	positions := e.queue.Positions()
	all := make([]Work, len(runs))
	for i, r := range runs {
		v := View{ID: r.entry.ID, Type: r.entry.Kind, Status: string(journal.Running), ProjectID: r.entry.ProjectID, ProviderID: r.entry.ProviderID,
			CheckpointID: r.entry.CheckpointID, PlanID: r.entry.PlanID, CreatedAt: r.entry.CreatedAt, CancelledBy: r.cancelledBy(), Position: positions[r.entry.ID]}
		if v.Position > 0 {
			v.Status = string(journal.Queued)
		}
		all[i] = Work{View: v, Resources: r.tracker.All(), Graph: r.graph.Load()}
	}
	return all
}

// notes reads the marks of one kind.
func notes[T any](ctx context.Context, e *Engine, id, kind string) ([]T, error) {
	marks, err := e.journal.Marks(ctx, id, kind)
	if err != nil {
		return nil, err
	}
	list := make([]T, len(marks))
	for i, m := range marks {
		if err := json.Unmarshal(m.Value, &list[i]); err != nil {
			return nil, fmt.Errorf("reading mark %q of operation %s: %w", m.Key, id, err)
		}
	}
	return list, nil
}

// planned returns the resources of a protection or a copy, as far as the entry has them. It caches
// the resources of the last operation, since an entry may be large, and clients ask every second.
func (e *Engine) planned(ctx context.Context, id string) ([]resource.Key, error) {
	e.mu.Lock()
	last := e.shown
	e.mu.Unlock()
	if last.id == id {
		return last.planned, nil
	}
	entry, err := e.journal.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	var planned []resource.Key
	if in, err := decodeInput(entry.Input); err == nil && in.Graph != "" {
		if graph, err := resource.Unpack(in.Graph); err == nil {
			for _, node := range graph.Nodes() {
				planned = append(planned, node.Key())
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if entry.State != journal.Ended { // an ended entry has no input
		e.shown = shown{id, planned}
	}
	return planned, nil
}

// shown caches the resources of the last shown operation.
type shown struct {
	id      string
	planned []resource.Key
}

// withWaiting adds the resources whose turn has not come.
func withWaiting(list []progress.Resource, planned []resource.Key) []progress.Resource {
	known := make(map[resource.Key]bool, len(list))
	for _, r := range list {
		known[r.Key()] = true
	}
	for _, key := range planned {
		if !known[key] {
			list = append(list, progress.Resource{Type: key.Type, ID: key.ID, State: progress.Waiting})
		}
	}
	return list
}

// Worker is one run of a worker, according to its announcement in the journal. Times are UTC.
type Worker struct {
	ID    string `json:"id"`
	Host  string `json:"host"`
	State string `json:"state"` // up, down, or stopped in good order
	// SeenAt is the time of the last announcement, by the clock of the database.
	SeenAt     time.Time `json:"seen_at"`
	Operations int       `json:"operations"` // unfinished operations of the worker
}

// The states of a worker.
const (
	workerUp      = "up"
	workerDown    = "down"
	workerStopped = "stopped"
)

// workersPage is the number of operations that are held at a time for counting.
const workersPage = 1000

// Workers lists the workers that share the journal, in the order of their ids.
func (e *Engine) Workers(ctx context.Context) ([]Worker, error) {
	owners, err := e.journal.Owners(ctx)
	if err != nil {
		return nil, unrecorded(err)
	}
	own := map[string]int{}
	for f := (journal.Filter{Unfinished: true, Limit: workersPage}); ; {
		page, err := e.journal.List(ctx, f)
		if err != nil {
			return nil, unrecorded(err)
		}
		for i := range page {
			own[page[i].Owner]++
			f.Marker = page[i].ID
		}
		if len(page) < f.Limit {
			break
		}
	}
	workers := make([]Worker, len(owners))
	for i, o := range owners {
		workers[i] = Worker{ID: o.ID, Host: o.Host, State: workerDown, SeenAt: o.Announced.UTC(), Operations: own[o.ID]}
		switch {
		case o.Retired:
			workers[i].State = workerStopped
		case o.Live:
			workers[i].State = workerUp
		}
	}
	return workers, nil
}
