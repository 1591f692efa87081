// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/manager/queue"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// Engine runs operations. It is safe for concurrent use.
type Engine struct {
	Config
	journal journal.Journal
	retry   failure.Retrier
	log     logrus.FieldLogger
	queue   *queue.Queue
	denials *denials
	// quarantine holds a token while an operation is in quarantine.
	quarantine chan struct{}

	draining context.Context // ends when no further hooks may start
	drain    context.CancelFunc
	ctx      context.Context
	cancel   context.CancelCauseFunc

	mu          sync.Mutex
	runs        map[string]*run // queued and running here
	coming      map[string]bool // about to be added to runs
	unresumable map[string]unresumable
	shown       shown
	held        map[string]int // bytes held by the operations of a project
	stopping    bool
	alive       sync.WaitGroup // runs
}

// waitingBytes bounds the memory for inputs of waiting operations. Further inputs are read again
// when the turn of their operation comes.
const waitingBytes = 32 << 20

// New returns an engine. Stop ends it.
func New(c Config) *Engine {
	if c.MaxTasks <= 0 {
		c.MaxTasks = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	if c.Reachable == nil {
		c.Reachable = func(context.Context, *providers.Provider) error { return nil }
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.Tenure == nil {
		c.Tenure = lasting(uuid.NewString())
	}
	e := &Engine{
		Config: c, journal: c.Journal, log: telemetry.Named(c.Log, "operation"), queue: queue.New(c.Limits, waitingBytes),
		quarantine: make(chan struct{}, 1),
		runs:       map[string]*run{}, coming: map[string]bool{}, held: map[string]int{}, unresumable: map[string]unresumable{},
	}
	e.denials = newDenials(c.Denials, e.log)
	e.draining, e.drain = context.WithCancel(context.Background())
	e.retry = failure.Retrier{Draining: e.draining}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e
}

// lasting is a tenure without an end.
type lasting string

func (l lasting) ID() string { return string(l) }

func (lasting) Context() context.Context { return context.Background() }

func (lasting) Fence() func() error { return nil }

// Running returns the numbers of running and of waiting operations.
func (e *Engine) Running() (running, waiting int) { return e.queue.Counts() }

// Stop hands over unfinished operations: no further hook starts, waits are interrupted, and running
// hooks may finish until ctx ends. The journal records the progress of each operation, from which
// another worker, or this one after a restart, resumes it.
func (e *Engine) Stop(ctx context.Context) {
	e.mu.Lock()
	first := !e.stopping
	e.stopping = true
	e.mu.Unlock()
	if first {
		e.drain()
		for _, j := range e.queue.Close() {
			e.forget(j.ID)
		}
	}
	done := make(chan struct{})
	go func() {
		e.alive.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	e.cancel(errors.Join(protection.ErrHandover, ErrStopping))
	<-done
}

// Working reports whether this worker has an operation, or is about to have it.
func (e *Engine) Working(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, unresumable := e.unresumable[id]
	return e.coming[id] || e.runs[id] != nil || unresumable
}

// expect announces a run; the function returned ends the announcement.
func (e *Engine) expect(id string) (end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.coming[id] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.coming, id)
	}
}

// deny returns the error for the caller of an operation that could not be recorded. Unless the
// database has refused the entry permanently, the entry may be found later.
func (e *Engine) deny(id string, err error) *fault.Error {
	told := unrecorded(err)
	if database.Refused(err) == nil {
		e.denials.add(id, told.Message())
	}
	return told
}

// enlist registers a run. It fails if the engine is stopping, and returns the registered run if
// there already is one.
func (e *Engine) enlist(r *run) (other *run, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return nil, false
	}
	if other := e.runs[r.entry.ID]; other != nil {
		return other, false
	}
	e.runs[r.entry.ID] = r
	e.held[r.entry.ProjectID] += r.job.Size
	e.alive.Add(1)
	return nil, true
}

// forget removes a run that enlist has registered.
func (e *Engine) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil {
		delete(e.runs, id)
		if e.held[r.entry.ProjectID] -= r.job.Size; e.held[r.entry.ProjectID] <= 0 {
			delete(e.held, r.entry.ProjectID)
		}
		r.detachTenure()
		r.handOver(nil)
		close(r.done)
		e.alive.Done()
	}
}

func (e *Engine) find(id string) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[id]
}

// cleanupTime bounds cleanup work after the context of the actual work has ended.
const cleanupTime = 30 * time.Second

// cleanup returns a context that outlives ctx for a short time, to record how the work ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

func newID() string { return uuid.NewString() }

// Able returns an error if this worker cannot resume an operation because it does not know its kind
// or has not loaded its provider. The entry needs no input. A worker that adopts such an operation
// keeps it from workers that could resume it; if it was cancelled, it then ends.
func (e *Engine) Able(entry journal.Entry) error {
	if !known(protection.Kind(entry.Kind)) {
		return fmt.Errorf("no operation %q is known here", entry.Kind)
	}
	if e.Providers == nil {
		return nil
	}
	_, err := e.Providers.Get(entry.ProviderID)
	return err
}

// Adopt resumes an operation that this worker has adopted, or ends one that was cancelled and
// cannot be resumed here. entry has the new claim. Adopt does not block.
func (e *Engine) Adopt(entry journal.Entry) {
	arrived := e.expect(entry.ID)
	e.mu.Lock()
	delete(e.unresumable, entry.ID)
	stopping := e.stopping
	if !stopping {
		e.alive.Add(1)
	}
	e.mu.Unlock()
	if stopping {
		arrived()
		return
	}
	go func() {
		defer e.alive.Done()
		log := e.log.WithField("operation_id", entry.ID).WithField("operation", entry.Kind)
		if old := e.find(entry.ID); old != nil { // a run under an earlier claim, which is about to end
			old.handOver(errors.Join(protection.ErrHandover, journal.ErrClaim))
			<-old.done
		}
		err := e.adopt(e.ctx, entry)
		switch {
		case err == nil:
			log.Infof("adopted, generation %d", entry.Generation)
		case entry.CancelledBy != "":
			log.Warnf("an operation that cannot go on here is ended, as %s wants: %v", entry.CancelledBy, err)
			e.abandon(e.ctx, entry, err)
		default:
			// The operation stays with this worker, which resumes it after a restart once its
			// provider is back.
			log.Errorf("an adopted operation cannot go on here: %v", err)
			e.keepUnresumable(entry, err)
		}
		arrived()
	}()
}

func (e *Engine) adopt(ctx context.Context, entry journal.Entry) error {
	in, err := e.inputOf(ctx, entry)
	if errors.Is(err, errForged) {
		e.reject(entry, err)
		return nil
	}
	if err != nil {
		return err
	}
	p, err := e.Providers.Get(entry.ProviderID)
	if err != nil {
		return err
	}
	// Without the caller's credentials the hooks fail, and the operation ends as a failed one.
	caller, callerErr := in.caller(e.Sealer, entry.ID)
	if callerErr != nil {
		caller = &requestcontext.RequestContext{ProjectID: entry.ProjectID}
	}
	r := e.resume(entry, in, caller, p)
	if callerErr != nil {
		r.log.Errorf("going on without the caller's credentials: %v", callerErr)
	}
	if told, denied := e.denials.take(entry.ID); denied {
		r.untouched, r.outcome = true, &outcome{Reason: told, Refused: told}
	}
	if _, ok := e.enlist(r); !ok {
		return nil // the engine is stopping, or the run exists already
	}
	r.start()
	if entry.CancelledBy != "" {
		e.Cancelled(entry.ID, entry.CancelledBy) // a cancelled operation does not wait for its turn
	}
	return nil
}

// inputOf reads the input of an adopted operation. It fails with errForged if the entry cannot be
// trusted.
func (e *Engine) inputOf(ctx context.Context, entry journal.Entry) (*input, error) {
	if entry.Input == nil {
		err := e.retry.Journal(ctx, e.log, func(ctx context.Context) error {
			whole, err := e.journal.Get(ctx, entry.ID)
			if err == nil {
				entry.Input = whole.Input
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return e.trusted(&entry)
}

// trusted decodes the input of an entry. It fails with errForged if the entry cannot be trusted.
func (e *Engine) trusted(entry *journal.Entry) (*input, error) {
	if err := verify(entry, e.Sealer, e.AcceptUnsigned); err != nil {
		return nil, err
	}
	in, err := decodeInput(entry.Input)
	if err != nil {
		return nil, err
	}
	return in, in.check(protection.Kind(entry.Kind))
}

// Readable returns an error if this worker could not resume an operation of another worker, for
// example because the two have different keys.
func (e *Engine) Readable(ctx context.Context, entry journal.Entry) error {
	_, err := e.inputOf(ctx, entry)
	return err
}

// resume creates the run of an adopted operation. A cancelled operation starts no hooks.
func (e *Engine) resume(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	size := len(entry.Input)
	entry.Input = nil // in has the same content
	r := e.newRun(entry, in, caller, p)
	r.job.Size = size
	r.resumed = true
	if entry.CancelledBy != "" {
		r.cancel(entry.CancelledBy)
	}
	return r
}

// unresumable is an operation of this worker that it cannot resume.
type unresumable struct {
	entry journal.Entry
	why   error
}

// keepUnresumable keeps an unresumable operation, so that it can be cancelled.
func (e *Engine) keepUnresumable(entry journal.Entry, why error) {
	entry.Input = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unresumable[entry.ID] = unresumable{entry, why}
}

func (e *Engine) findUnresumable(id string) (s unresumable, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok = e.unresumable[id]
	return s, ok
}

// abandon ends a cancelled operation that this worker cannot resume; unable says why. It can reach
// only the tables and the journal, so the reason names what stays elsewhere.
func (e *Engine) abandon(ctx context.Context, entry journal.Entry, unable error) {
	in, err := e.inputOf(ctx, entry)
	if err != nil { // the entry has what is needed most
		in = inputOfEntry(&entry)
	}
	if in.Record == nil {
		in.Record = inputOfEntry(&entry).Record
	}
	e.endWithoutProvider(entry, in, func(r *run) error { return r.abandon(r.ctx, unable) })
}

// reject ends an operation whose entry cannot be trusted. The operation fails in the tables and in
// the journal, where whoever changed the entry could write too. Anything that the entry names in a
// bank or a cloud is left alone.
func (e *Engine) reject(entry journal.Entry, why error) {
	e.endWithoutProvider(entry, inputOfEntry(&entry), func(r *run) error {
		r.outcome = r.forged(why)
		return r.finish(r.ctx)
	})
}

// endWithoutProvider creates the run of an adopted operation and calls end for it.
func (e *Engine) endWithoutProvider(entry journal.Entry, in *input, end func(*run) error) {
	r := e.resume(entry, in, &requestcontext.RequestContext{ProjectID: entry.ProjectID}, nil)
	if _, ok := e.enlist(r); !ok {
		return
	}
	defer e.forget(entry.ID)
	if err := end(r); err != nil {
		r.log.Infof("%s is left for others to end: %s", entry.Kind, fault.Detail(err))
	}
}

// Cancel requests the end of an operation, on whichever worker it runs. by names the requester. It
// fails with InvalidInput if there is no such operation, or if it has ended.
func (e *Engine) Cancel(ctx context.Context, id, by string) error {
	err := e.journal.Cancel(ctx, id, by)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return NotFound(id)
	case errors.Is(err, journal.ErrEnded):
		return fault.InvalidInput("Operation " + id + " has ended already.").WithCause(err)
	case err != nil:
		return unrecorded(err)
	}
	e.Cancelled(id, by)
	return nil
}

// Cancelled ends an operation of this worker whose end was requested in the journal. It may be
// called repeatedly. A waiting operation ends at once.
func (e *Engine) Cancelled(id, by string) {
	r := e.find(id)
	if r == nil {
		if s, ok := e.findUnresumable(id); ok {
			s.entry.CancelledBy = by
			e.Adopt(s.entry)
		}
		return
	}
	r.cancel(by)
	if j := e.queue.Withdraw(id); j != nil {
		go j.Run()
	}
}

// NotFound returns the error for an operation that does not exist.
func NotFound(id string) error {
	return fault.InvalidInput("Operation " + id + " could not be found.")
}

// checkSize refuses an operation that exceeds the size limits. The cost of an operation must be
// known before it is durable: a recorded operation is resumed by one worker after the other, even
// if it brings all of them down.
func (e *Engine) checkSize(resources, links int) error {
	for _, bound := range []struct {
		what, option string
		count, most  int
	}{
		{"resources", "max_resources_per_operation", resources, e.MaxResources},
		{"links between resources", "max_links_per_operation", links, e.MaxLinks},
	} {
		if bound.most > 0 && bound.count > bound.most {
			return fault.InvalidInput(fmt.Sprintf("%d %s are more than one operation may have: at most %d (%s).",
				bound.count, bound.what, bound.most, bound.option)).WithCause(resource.ErrTooLarge)
		}
	}
	return nil
}

// checkGraph is checkSize for a packed graph. A graph that cannot be read fails where it is used.
func (e *Engine) checkGraph(packed string) error {
	resources, links, err := resource.Measure(packed)
	if err != nil {
		return nil
	}
	return e.checkSize(resources, links)
}

// admit refuses an operation if its project has reached the limit of waiting or running operations.
func (e *Engine) admit(project string, size int) error {
	if waiting := e.queue.Waiting(project); e.MaxQueued > 0 && waiting >= e.MaxQueued {
		return fault.InvalidInput(fmt.Sprintf("%d operations of the project wait, which is as many as may (max_queued_operations_per_project).", waiting))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if held := e.held[project]; e.MaxBytes > 0 && held > 0 && held+size > e.MaxBytes {
		return fault.InvalidInput(fmt.Sprintf("The operations of the project that have not ended take %d bytes, and this one %d: at most %d (max_operation_bytes_per_project).",
			held, size, e.MaxBytes))
	}
	return nil
}

// graphSize returns the size of a checkpoint's graph.
func graphSize(cp *checkpoint.Checkpoint) int {
	packed, _ := cp.ResourceGraph()
	return len(packed)
}

// refuseRecord records in the row of a restore or verification that it was refused, since
// karbor-api has created the row and does not wait for an answer.
func (e *Engine) refuseRecord(ctx context.Context, kind protection.Kind, rec Record, refusal error) {
	var known *fault.Error
	if rec.New != nil || !errors.As(refusal, &known) || known.Code() >= 500 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, progress.WriteTime)
	defer cancel()
	status := progress.RecordFail
	if err := e.Records.Update(ctx, recordKind(kind), rec.ID, database.RecordUpdate{Status: &status}); err != nil {
		e.log.Warnf("that the %s %s was refused is not in its record: %s", kind, rec.ID, fault.Detail(err))
	}
}

// Abandonment says how certain it is that no operation works on a checkpoint.
type Abandonment int

// The degrees.
const (
	// Attended is a checkpoint with a running operation, or with a live owner that may have an
	// operation unknown to the journal.
	Attended Abandonment = iota
	// Unknown is a checkpoint of another owner that the journal has never known, in a bank without
	// leases.
	Unknown
	// Abandoned is a checkpoint whose operations have all ended in the journal, or that the journal
	// has never known and whose owner no longer has a lease.
	Abandoned
)

// Abandonment judges whether an operation works on a checkpoint, or will be resumed. The journal
// covers all workers that share it, and takes precedence. The lease covers the owners of
// checkpoints that the journal has never known: Python workers, and workers with a database of
// their own.
func (e *Engine) Abandonment(ctx context.Context, p *providers.Provider, checkpointID, owner string) (Abandonment, error) {
	err := e.busy(ctx, journal.Filter{CheckpointID: checkpointID})
	known := false
	for _, kind := range []protection.Kind{protection.Protect, protection.Copy, protection.Delete} {
		var ended []journal.Entry
		if err == nil && !known {
			ended, err = e.journal.List(ctx, journal.Filter{CheckpointID: checkpointID, Kind: string(kind), Limit: 1})
			known = len(ended) > 0
		}
	}
	lease := p.Lease()
	switch {
	case errors.As(err, new(*journal.BusyError)):
		return Attended, nil
	case err != nil:
		return Attended, fmt.Errorf("looking for operations on checkpoint %s: %w", checkpointID, err)
	case known:
		return Abandoned, nil
	case lease == nil || owner == "":
		if owner == p.Checkpoints.OwnerID() {
			return Attended, nil
		}
		return Unknown, nil
	}
	held, err := lease.Held(ctx, owner)
	if err != nil {
		return Attended, fmt.Errorf("looking for the lease of owner %s of checkpoint %s: %w", owner, checkpointID, err)
	}
	if held {
		return Attended, nil
	}
	return Abandoned, nil
}

// Ownerless reports whether a user may take a checkpoint in an unfinished status from its owner.
func (e *Engine) Ownerless(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint) (bool, error) {
	if !cp.Status().Unfinished() {
		return false, nil
	}
	a, err := e.Abandonment(ctx, p, cp.ID(), cp.OwnerID())
	return a == Abandoned, err
}

// newRun creates the run of an entry.
func (e *Engine) newRun(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	r := &run{engine: e, entry: entry, caller: caller, provider: p, done: make(chan struct{})}
	r.log = telemetry.WithRequest(e.log, caller).
		WithFields(logrus.Fields{"operation": entry.Kind, "operation_id": entry.ID, "checkpoint": in.Checkpoint})
	// The worker's tenure ends the work; a new tenure begins with a new run.
	tenure := e.Tenure.Context()
	r.fence = e.Tenure.Fence()
	r.ctx, r.handOver = context.WithCancelCause(requestcontext.New(r.writing(openstack.WithOutageTolerance(e.ctx, outageTolerance)), caller))
	r.detachTenure = context.AfterFunc(tenure, func() { r.handOver(errors.Join(protection.ErrHandover, context.Cause(tenure))) })
	r.hooks, r.cancelHooks = context.WithCancelCause(protection.WithDrain(r.ctx, e.draining.Done()))
	r.marks = progress.NewMarkWriter(r.ctx, e.journal, e.retry, r.log, entry, func(err error) {
		r.handOver(errors.Join(protection.ErrHandover, err))
	})
	r.tracker = progress.NewTracker(r.marks, e.Now)
	r.probation = &probation{entry: entry, limit: e.CrashLimit, quarantine: e.quarantine, marks: r.marks, tracker: r.tracker,
		log: r.log, ctx: r.ctx, draining: e.draining}
	r.take(in)
	r.job = &queue.Job{ID: entry.ID, Provider: entry.ProviderID, Project: entry.ProjectID, Run: r.execute, Park: r.park}
	return r
}
