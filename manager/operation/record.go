// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// The statuses of restores and verifications. karbor: common/constants.py
const (
	inProgress = "in_progress"
	success    = "success"
	fail       = "fail"
)

// Record is the restore or verification that karbor-api has put into the
// database before it asks for it.
type Record struct {
	ID         string
	ProjectID  string
	Parameters Parameters
	// New makes the record, for callers without karbor-api; nil if it is there.
	New *database.Record
}

// Report is what a hook has told of a resource.
type Report struct {
	Resource string `json:"resource"` // type#id; of a restore, the new one
	Status   string `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

// recordWriter writes the row of one restore or verification, and is the only one
// who does. What hooks report while a write is under way goes with the next one: a
// thousand hooks cost a few writes, and none waits for the database. Each write has
// all that was ever reported, which the journal keeps too.
type recordWriter struct {
	id   string
	kind database.RecordKind
	rows Records
	note func(Report) // keeps a report in the journal
	log  logrus.FieldLogger

	ctx     context.Context // of the writes on the way
	stop    context.CancelFunc
	writers sync.WaitGroup
	alive   *sync.WaitGroup // the engine's, which ends after the last write

	mu      sync.Mutex
	status  *string // to be written
	reports map[string]Report
	changed bool  // since the last write began
	writing bool  // somebody is at it
	gone    error // the row is, and nobody waits for it any more
}

var _ protection.StatusRecorder = (*recordWriter)(nil)

// Update implements protection.StatusRecorder. It does not wait: what the hook has
// done is in the cloud whether the database answers or not.
func (w *recordWriter) Update(_ context.Context, resourceType, id, status, reason string) error {
	r := Report{Resource: resource.Key{Type: resourceType, ID: id}.String(), Status: status, Reason: reason}
	if reason != "" {
		w.log.Infof("%s is %s: %s", r.Resource, status, reason) // the row may have no room for all of it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone != nil {
		return w.gone
	}
	w.note(r)
	w.reports[r.Resource] = r
	w.later()
	return nil
}

// recall takes what earlier runs have reported.
func (w *recordWriter) recall(reports []Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range reports {
		if _, newer := w.reports[r.Resource]; !newer {
			w.reports[r.Resource] = r
		}
	}
}

// begin marks the record as being worked on. A record that is gone ends the
// flow: nobody waits for it any more.
func (w *recordWriter) begin(ctx context.Context) error {
	status := inProgress
	w.mu.Lock()
	w.status = &status
	w.mu.Unlock()
	err := w.write(ctx)
	switch {
	case database.Refused(err) != nil:
		return nil // it may take the end
	case final(err):
		return err
	case err != nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.later()
	}
	return nil
}

// later has what has changed written, unless somebody is at it. The caller holds
// mu.
func (w *recordWriter) later() {
	w.changed = true
	if !w.writing && w.ctx.Err() == nil {
		w.writing = true
		w.writers.Add(1)
		w.alive.Go(func() {
			defer w.writers.Done()
			w.run()
		})
	}
}

// run writes until nothing has changed, or the end is near, which has a write of
// its own.
func (w *recordWriter) run() {
	for pause := firstPause; w.pending(); {
		err := w.write(w.ctx)
		if err == nil || final(err) {
			pause = firstPause
			continue
		}
		if pause == firstPause && w.ctx.Err() == nil {
			w.log.Warnf("statuses are recorded later: %s", fault.Detail(err))
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

func (w *recordWriter) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = w.changed && w.gone == nil && w.ctx.Err() == nil
	return w.writing
}

// write writes once what has changed. What fails for want of a database is still to
// be written then.
func (w *recordWriter) write(ctx context.Context) error {
	w.mu.Lock()
	u := database.RecordUpdate{Status: w.status}
	u.ResourcesStatus, u.ResourcesReason = columns(w.reports)
	w.changed = false
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	err := w.rows.Update(ctx, w.kind, w.id, u)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.status = nil
	case database.Refused(err) != nil:
		w.log.Warnf("statuses are not recorded: %s", fault.Detail(err))
	case final(err):
		w.gone = err
	default:
		w.changed = true
	}
	return err
}

func columns(reports map[string]Report) (statuses, reasons map[string]string) {
	statuses, reasons = map[string]string{}, map[string]string{}
	for key, r := range reports {
		statuses[key], reasons[key] = r.Status, r.Reason
	}
	return statuses, reasons
}

// end writes how it ended. cause is why it failed, nil if it did not; undone
// tells that the resources are gone again.
func (w *recordWriter) end(ctx context.Context, status string, cause error, undone bool) error {
	w.mu.Lock()
	w.stop() // nobody begins to write after that
	w.mu.Unlock()
	w.writers.Wait()
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	now, err := w.rows.Get(ctx, w.kind, w.id)
	if err != nil && database.Refused(err) == nil {
		return fmt.Errorf("read the record: %w", err)
	}
	w.mu.Lock()
	statuses, reasons := columns(w.reports)
	w.mu.Unlock()
	if now != nil { // a worker of another version may have written it
		for key, status := range now.ResourcesStatus {
			if _, ours := statuses[key]; !ours {
				statuses[key], reasons[key] = status, now.ResourcesReason[key]
			}
		}
	}
	lastStatuses(statuses, reasons, cause, undone)
	u := database.RecordUpdate{Status: &status, ResourcesStatus: statuses, ResourcesReason: reasons}
	if err := w.rows.Update(ctx, w.kind, w.id, u); err != nil {
		return fmt.Errorf("write status %s into the record: %w", status, err)
	}
	return nil
}

// lastStatuses sets those of resources of whose end nobody could tell: their
// process died, or the database was away.
func lastStatuses(statuses, reasons map[string]string, cause error, undone bool) {
	for key, status := range statuses {
		switch {
		case status == protection.StatusError, status == protection.StatusAvailable && !undone:
		case cause == nil:
			statuses[key], reasons[key] = protection.StatusAvailable, ""
		default:
			statuses[key], reasons[key] = protection.StatusError, describe(cause)
		}
	}
}
