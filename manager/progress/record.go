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

// RecordWriter writes the row of one restore or verification, and is the only one
// who does. What hooks report while a write is under way goes with the next one: a
// thousand hooks cost a few writes, and none waits for the database. Each write has
// all that was ever reported, which the journal keeps too.
type RecordWriter struct {
	records Records
	kind    database.RecordKind
	id      string
	marks   *MarkWriter
	retry   failure.Retrier
	log     logrus.FieldLogger
	ctx     context.Context // of the writes on the way
	stop    context.CancelFunc
	writers sync.WaitGroup
	alive   *sync.WaitGroup

	mu      sync.Mutex
	status  *string // to be written
	reports map[string]Report
	changed bool  // since the last write began
	writing bool  // a goroutine is
	gone    error // the row is, and nobody waits for it any more
}

var _ protection.StatusRecorder = (*RecordWriter)(nil)

// NewRecordWriter makes the writer of a record. Reports are kept by marks. ctx ends
// the writes on the way; alive ends after the last of them.
func NewRecordWriter(ctx context.Context, records Records, kind database.RecordKind, id string, marks *MarkWriter, retry failure.Retrier,
	log logrus.FieldLogger, alive *sync.WaitGroup) *RecordWriter {
	w := &RecordWriter{records: records, kind: kind, id: id, marks: marks, retry: retry, log: log.WithField("record", id), alive: alive, reports: map[string]Report{}}
	w.ctx, w.stop = context.WithCancel(ctx)
	return w
}

// Update implements protection.StatusRecorder. It does not wait: what the hook has
// done is in the cloud whether the database answers or not.
func (w *RecordWriter) Update(_ context.Context, resourceType, id, status, reason string) error {
	r := Report{Resource: resource.Key{Type: resourceType, ID: id}.String(), Status: status, Reason: reason}
	if reason != "" {
		w.log.Infof("%s is %s: %s", r.Resource, status, reason) // the row may have no room for all of it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone != nil {
		return w.gone
	}
	// Marks keep their order: the report is on record when the hook's end is.
	w.marks.Note(markKey(ReportMarks, r.Resource), r)
	w.reports[r.Resource] = r
	w.later()
	return nil
}

// Begin marks the record as being worked on. A record that is gone ends the
// flow: nobody waits for it any more.
func (w *RecordWriter) Begin(ctx context.Context) error {
	status := RecordInProgress
	w.mu.Lock()
	w.status = &status
	w.mu.Unlock()
	err := w.write(ctx)
	switch {
	case database.Refused(err) != nil:
		return nil // it may take the end
	case failure.Final(err):
		return err
	case err != nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.later()
	}
	return nil
}

// later has what has changed written, unless a goroutine is at it. The caller holds
// mu.
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

// run writes until nothing has changed, or the end is near, which has a write of
// its own.
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
		if failure.HandedOver(err) { // the end, or the next owner, writes them
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

// write writes once what has changed. What fails for want of a database is still to
// be written then.
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

// End writes how the operation ended. earlier is what earlier runs have reported,
// reason why the operation failed, empty if it did not, and undone reports whether its
// resources are gone again.
func (w *RecordWriter) End(ctx context.Context, status string, earlier []Report, reason string, undone bool) error {
	w.mu.Lock()
	w.stop() // nobody begins to write after that
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

// lastStatuses sets those of resources of whose end nobody could tell: their
// process died, or the database was away.
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
