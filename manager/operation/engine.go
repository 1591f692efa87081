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
	// quarantine has a token while an operation is in it.
	quarantine chan struct{}

	draining context.Context // ends when no more hooks are to start
	drain    context.CancelFunc
	ctx      context.Context
	cancel   context.CancelCauseFunc

	mu          sync.Mutex
	runs        map[string]*run // queued and running here
	coming      map[string]bool // about to be one of them
	unresumable map[string]unresumable
	shown       shown
	held        map[string]int // bytes of what the operations of a project are about
	stopping    bool
	alive       sync.WaitGroup // runs
}

// waitingBytes is how much of what waiting operations are about is kept in memory.
// The rest is read again when its turn has come.
const waitingBytes = 32 << 20

// New makes an engine. Stop ends it.
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

// Running returns the number of operations that run, and that wait for others.
func (e *Engine) Running() (running, waiting int) { return e.queue.Counts() }

// Stop hands over what is not done: no hook starts any more, waits are broken
// off, and hooks that are at work may end until ctx does. The journal says where
// each operation stands; another worker, or this one when it is started again,
// goes on from there.
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

// deny returns what the caller of an operation is told that could not be recorded. Unless
// the database has refused it for good, an entry may turn up later.
func (e *Engine) deny(id string, err error) *fault.Error {
	told := unrecorded(err)
	if database.Refused(err) == nil {
		e.denials.add(id, told.Message())
	}
	return told
}

// enlist makes a run known. It fails when the engine stops, and gives the run
// that is there already.
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

// forget ends what enlist began.
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

// cleanupTime bounds what is done after the context of the work has ended.
const cleanupTime = 30 * time.Second

// cleanup gives a context that outlives ctx for a short time, to write down how
// the work ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

func newID() string { return uuid.NewString() }

// Able returns why this worker could not go on with an operation: it knows no
// such kind, or has not loaded the provider. The entry needs no input. Who adopts
// it all the same keeps it from a worker that could; one that was cancelled then
// ends.
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

// Adopt goes on with an operation that this worker has adopted, or ends one that
// was cancelled and cannot go on here: entry has the new claim. It does not wait.
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
		if old := e.find(entry.ID); old != nil { // of an earlier claim, without which it is about to end
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
			// It stays this worker's: when its provider is there again, a new start
			// goes on with it.
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
	// Without the caller's credentials the hooks fail, and so the operation is
	// ended as it should.
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
		return nil // it stops, or is there already
	}
	r.start()
	if entry.CancelledBy != "" {
		e.Cancelled(entry.ID, entry.CancelledBy) // it waits for no turn
	}
	return nil
}

// inputOf reads the input of an adopted operation, errForged if it cannot be trusted.
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

// trusted decodes the input of an entry, errForged if it cannot be trusted.
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

// Readable returns why this worker could not go on with an operation that another has
// begun, as when it has another key than that.
func (e *Engine) Readable(ctx context.Context, entry journal.Entry) error {
	_, err := e.inputOf(ctx, entry)
	return err
}

// resume makes the run of an adopted operation. One that was cancelled starts no
// hook.
func (e *Engine) resume(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	size := len(entry.Input)
	entry.Input = nil // in says the same
	r := e.newRun(entry, in, caller, p)
	r.job.Size = size
	r.resumed = true
	if entry.CancelledBy != "" {
		r.cancel(entry.CancelledBy)
	}
	return r
}

// unresumable is an operation of this worker with which it cannot go on.
type unresumable struct {
	entry journal.Entry
	why   error
}

// keepUnresumable keeps such an operation for its end.
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

// abandon ends an operation that was cancelled and that this worker cannot go on
// with: unable says why. The tables and the journal are all that it reaches, so
// what stays elsewhere is told of.
func (e *Engine) abandon(ctx context.Context, entry journal.Entry, unable error) {
	in, err := e.inputOf(ctx, entry)
	if err != nil { // the entry says the most important
		in = inputOfEntry(&entry)
	}
	if in.Record == nil {
		in.Record = inputOfEntry(&entry).Record
	}
	e.endWithoutProvider(entry, in, func(r *run) error { return r.abandon(r.ctx, unable) })
}

// reject ends an operation whose entry cannot be trusted. It is failed in the tables
// and in the journal, which is what those could write to who have changed it; what the
// entry names in a bank or a cloud is left alone.
func (e *Engine) reject(entry journal.Entry, why error) {
	e.endWithoutProvider(entry, inputOfEntry(&entry), func(r *run) error {
		r.outcome = r.forged(why)
		return r.finish(r.ctx)
	})
}

// endWithoutProvider makes the run of an adopted operation, and has it ended.
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

// Cancel asks for the end of an operation, wherever it runs. by names who asks.
// It fails with InvalidInput when there is no such operation, or it has ended.
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

// Cancelled ends an operation of this worker whose end was asked for in the
// journal; it may be told more than once. One that waits for its turn need not
// wait any longer.
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

// NotFound is the answer to a question about an operation that there is not.
func NotFound(id string) error {
	return fault.InvalidInput("Operation " + id + " could not be found.")
}

// checkSize refuses what is more than one operation may be about. What an operation
// costs is known before it is durable: what is on record is gone on with by one
// worker after the other, whatever becomes of them.
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

// checkGraph is checkSize for a graph as checkpoints keep it. One that cannot be read
// fails where it is needed.
func (e *Engine) checkGraph(packed string) error {
	resources, links, err := resource.Measure(packed)
	if err != nil {
		return nil
	}
	return e.checkSize(resources, links)
}

// admit refuses an operation of a project that has as much waiting, or at work, as one
// may have.
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

// graphSize is the size of a checkpoint's graph.
func graphSize(cp *checkpoint.Checkpoint) int {
	packed, _ := cp.ResourceGraph()
	return len(packed)
}

// refuseRecord says in the row of a restore or verification that it was refused:
// karbor-api has made the row and waits for no answer.
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

// Abandonment is how sure it is that nobody is at work on a checkpoint.
type Abandonment int

// The degrees.
const (
	// Attended is a checkpoint on which an operation is at work, or which has an
	// owner who lives and may have an operation that the journal does not know.
	Attended Abandonment = iota
	// Unknown is a checkpoint that the journal has never known, in a bank whose
	// owners have no lease that could tell more. Its owner is not this worker.
	Unknown
	// Abandoned is a checkpoint all of whose operations have ended in the journal, or
	// which it has never known and whose owner has no lease any more.
	Abandoned
)

// Abandonment judges whether anybody is at work on a checkpoint, or will go on. The
// journal tells of all workers that share it, and its word comes first. The lease
// tells of the owners of checkpoints that the journal has never known to change: the
// Python worker, and workers with a database of their own.
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

// Ownerless reports whether a checkpoint in an unfinished status is one that a
// user may take from its owner.
func (e *Engine) Ownerless(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint) (bool, error) {
	if !cp.Status().Unfinished() {
		return false, nil
	}
	a, err := e.Abandonment(ctx, p, cp.ID(), cp.OwnerID())
	return a == Abandoned, err
}

// newRun makes the run of an entry.
func (e *Engine) newRun(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	r := &run{engine: e, entry: entry, caller: caller, provider: p, done: make(chan struct{})}
	r.log = telemetry.WithRequest(e.log, caller).
		WithFields(logrus.Fields{"operation": entry.Kind, "operation_id": entry.ID, "checkpoint": in.Checkpoint})
	// The worker's tenure ends the work; a new one begins with a new run.
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
