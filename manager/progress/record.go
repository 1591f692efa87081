// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// The statuses of restores and verifications. karbor: common/constants.py
const (
	RecordInProgress = "in_progress"
	RecordSuccess    = "success"
	RecordFail       = "fail"
)

// Records are the tables of restores and verifications. Update merges the entries of
// resources_status and resources_reason into those that the row has.
type Records interface {
	Get(ctx context.Context, kind database.RecordKind, id string) (*database.Record, error)
	Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error
}

// RecordWriter writes the row of one restore or verification, and is its only writer. Reports of
// hooks during a write go into the next one: a thousand hooks need only a few writes, and none
// waits for the database. Each write has all reports so far, which the journal keeps too.
type RecordWriter struct {
	records Records
	kind    database.RecordKind
	id      string
	marks   *MarkWriter
	retry   failure.Retrier
	log     logrus.FieldLogger
	ctx     context.Context // of intermediate writes
	stop    context.CancelFunc
	writers sync.WaitGroup
	alive   *sync.WaitGroup

	mu      sync.Mutex
	status  *string // to be written
	reports map[string]Report
	changed bool  // since the last write began
	writing bool  // a goroutine is writing
	gone    error // set if the row is gone, and nobody waits for it any more
}

var _ protection.StatusRecorder = (*RecordWriter)(nil)

// NewRecordWriter returns the writer of a record. Reports are recorded by marks. ctx ends the
// intermediate writes; alive ends after the last of them.
func NewRecordWriter(ctx context.Context, records Records, kind database.RecordKind, id string, marks *MarkWriter, retry failure.Retrier,
	log logrus.FieldLogger, alive *sync.WaitGroup) *RecordWriter {
	w := &RecordWriter{records: records, kind: kind, id: id, marks: marks, retry: retry, log: log.WithField("record", id), alive: alive, reports: map[string]Report{}}
	w.ctx, w.stop = context.WithCancel(ctx)
	return w
}

// Update implements protection.StatusRecorder. It does not wait for the database, since the work of
// the hook is already done in the cloud.
func (w *RecordWriter) Update(_ context.Context, resourceType, id, status, reason string) error {
	r := Report{Resource: resource.Key{Type: resourceType, ID: id}.String(), Status: status, Reason: reason}
	if reason != "" {
		w.log.Infof("%s is %s: %s", r.Resource, status, reason) // the row may lack the room for all of it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone != nil {
		return w.gone
	}
	// Marks keep their order, so the report is durable when the hook's end is.
	w.marks.Note(markKey(ReportMarks, r.Resource), r)
	w.reports[r.Resource] = r
	w.later()
	return nil
}

// Begin sets the record's status to in progress. If the record is gone, Begin ends the flow, since
// nobody waits for the result.
func (w *RecordWriter) Begin(ctx context.Context) error {
	status := RecordInProgress
	w.mu.Lock()
	w.status = &status
	w.mu.Unlock()
	err := w.write(ctx)
	switch {
	case database.Refused(err) != nil:
		return nil // the last write may succeed
	case failure.Final(err):
		return err
	case err != nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.later()
	}
	return nil
}

// later starts writing the changes, unless a goroutine is already writing. The caller holds mu.
func (w *RecordWriter) later() {
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

// run writes until nothing has changed, or the end begins, which has a write of its own.
func (w *RecordWriter) run() {
	for w.pending() {
		warned := false
		err := w.retry.Do(w.ctx, func(ctx context.Context) error {
			err := w.write(ctx)
			if err != nil && !failure.Final(err) && !warned && w.ctx.Err() == nil {
				warned = true
				w.log.Warnf("statuses are recorded later: %s", fault.Detail(err))
			}
			return err
		})
		if failure.HandedOver(err) { // the last write, or the next owner's, includes them
			w.mu.Lock()
			w.writing = false
			w.mu.Unlock()
			return
		}
	}
}

func (w *RecordWriter) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = w.changed && w.gone == nil && w.ctx.Err() == nil
	return w.writing
}

// write writes the changes once. After a failure of the database the changes remain to be written.
func (w *RecordWriter) write(ctx context.Context) error {
	w.mu.Lock()
	u := database.RecordUpdate{Status: w.status}
	u.ResourcesStatus, u.ResourcesReason = columns(w.reports)
	w.changed = false
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, WriteTime)
	defer cancel()
	err := w.records.Update(ctx, w.kind, w.id, u)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.status = nil
	case database.Refused(err) != nil:
		w.log.Warnf("statuses are not recorded: %s", fault.Detail(err))
	case failure.Final(err):
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

// End writes the result of the operation. earlier are the reports of earlier runs, reason says why
// the operation failed and is empty if it did not, and undone says whether its resources were
// removed.
func (w *RecordWriter) End(ctx context.Context, status string, earlier []Report, reason string, undone bool) error {
	w.mu.Lock()
	w.stop() // no further write begins
	w.mu.Unlock()
	w.writers.Wait()
	ctx, cancel := context.WithTimeout(ctx, WriteTime)
	defer cancel()
	now, err := w.records.Get(ctx, w.kind, w.id)
	if err != nil && database.Refused(err) == nil {
		return fmt.Errorf("reading the record: %w", err)
	}
	w.mu.Lock()
	for _, r := range earlier {
		if _, newer := w.reports[r.Resource]; !newer {
			w.reports[r.Resource] = r
		}
	}
	statuses, reasons := columns(w.reports)
	w.mu.Unlock()
	if now != nil { // a worker of another version may have written it
		for key, status := range now.ResourcesStatus {
			if _, ours := statuses[key]; !ours {
				statuses[key], reasons[key] = status, now.ResourcesReason[key]
			}
		}
	}
	lastStatuses(statuses, reasons, reason, undone)
	u := database.RecordUpdate{Status: &status, ResourcesStatus: statuses, ResourcesReason: reasons}
	if err := w.records.Update(ctx, w.kind, w.id, u); err != nil {
		return fmt.Errorf("writing status %s into the record: %w", status, err)
	}
	return nil
}

// lastStatuses sets the final status of resources whose end was not reported, because their process
// died or the database was unavailable.
func lastStatuses(statuses, reasons map[string]string, reason string, undone bool) {
	for key, status := range statuses {
		switch {
		case status == protection.StatusError, status == protection.StatusAvailable && !undone:
		case reason == "":
			statuses[key], reasons[key] = protection.StatusAvailable, ""
		default:
			statuses[key], reasons[key] = protection.StatusError, failure.Cut(reason)
		}
	}
}
