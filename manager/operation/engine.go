// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// ErrStopping is the cause by which running operations are left to others when
// the service stops before they are done.
var ErrStopping = errors.New("the service was stopped")

// Grapher finds what depends on the resources of a plan.
type Grapher interface {
	Graph(ctx context.Context, starts []resource.Resource) (*resource.Graph, error)
}

// Records are the tables that operations write to. Their methods are safe for
// concurrent use and may be repeated: a row that is there is not made again,
// and the entries of resources_status and resources_reason are merged into
// those that the row has.
type Records interface {
	CreateOperationLog(ctx context.Context, row *database.OperationLog) (string, error)
	UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error
	GetOperationLog(ctx context.Context, id string) (*database.OperationLog, error)
	CreateRestore(ctx context.Context, row *database.Record) (string, error)
	UpdateRestore(ctx context.Context, id string, u database.RecordUpdate) error
	GetRestore(ctx context.Context, id string) (*database.Record, error)
	CreateVerification(ctx context.Context, row *database.Record) (string, error)
	UpdateVerification(ctx context.Context, id string, u database.RecordUpdate) error
	GetVerification(ctx context.Context, id string) (*database.Record, error)
}

// Providers finds the provider of an operation that is resumed.
type Providers interface {
	Get(id string) (*providers.Provider, error)
}

// Tenure says as whom, and for how long, this worker owns operations.
type Tenure interface {
	// ID is the owner's id, new with each run of the worker.
	ID() string
	// Context ends before others may take the worker for dead. When the tenure
	// is renewed after a loss, there is a new context.
	Context() context.Context
	// Fence returns what tells, by the clock, whether the present tenure still
	// lasts: nil, or for ever after an error that is a protection.ErrHandover.
	Fence() func() error
}

// Config says what an Engine works with.
type Config struct {
	Protectables Grapher
	Records      Records
	Log          logrus.FieldLogger

	// Journal keeps operations over restarts; nil keeps them in memory.
	Journal journal.Journal
	// Tenure is the worker's; nil is one that lasts.
	Tenure Tenure
	// Sealer keeps callers' credentials from readers of the database, and operations
	// from its writers; without one credentials are not kept, and entries believed.
	Sealer Sealer
	// AcceptUnsigned lets operations pass that have been begun by workers which did
	// not sign.
	AcceptUnsigned bool
	// Providers are needed to resume.
	Providers Providers

	Limits Limits
	// MaxResources and MaxLinks bound what one operation is about: the resources of
	// its graph, and the links from parents to children; 0 is no bound.
	MaxResources int
	MaxLinks     int
	// CrashLimit is how many workers in a row an operation may end before it fails;
	// 0 is no limit.
	CrashLimit int
	// MaxTasks bounds the hooks of one operation that run at a time; 0 is 1000.
	MaxTasks int
	// HookTimeout and OperationTimeout end what takes longer; 0 is no bound. An
	// operation's time counts from its start, over restarts.
	HookTimeout      time.Duration
	OperationTimeout time.Duration
	// Patience is how long a request waits for an operation on the same
	// checkpoint, which is most often about to end; 0 is 5 s, less is none.
	Patience time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Provider is what an operation needs of a provider.
type Provider interface {
	Plugin(resourceType string) (protection.Plugin, error)
}

var _ Provider = (*providers.Provider)(nil)

// Engine runs operations. It is safe for concurrent use.
type Engine struct {
	Config
	journal   journal.Journal
	log       logrus.FieldLogger
	scheduler *scheduler
	// quarantine has a token while an operation is in it.
	quarantine chan struct{}

	draining context.Context // ends when no more hooks are to start
	drain    context.CancelFunc
	ctx      context.Context
	cancel   context.CancelCauseFunc

	mu       sync.Mutex
	runs     map[string]*run // queued and running here
	coming   map[string]bool // about to be one of them
	stranded map[string]stranded
	held     map[string]int // bytes of what the operations of a project are about
	stopping bool
	alive    sync.WaitGroup // runs
}

// New makes an engine. Stop ends it.
func New(c Config) *Engine {
	if c.MaxTasks <= 0 {
		c.MaxTasks = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.Journal == nil {
		c.Journal = journal.NewMemory(c.Now)
	}
	if c.Tenure == nil {
		c.Tenure = lasting(uuid.NewString())
	}
	e := &Engine{
		Config: c, journal: c.Journal, log: telemetry.Named(c.Log, "operation"), scheduler: newScheduler(c.Limits),
		quarantine: make(chan struct{}, 1),
		runs:       map[string]*run{}, coming: map[string]bool{}, held: map[string]int{}, stranded: map[string]stranded{},
	}
	e.draining, e.drain = context.WithCancel(context.Background())
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	return e
}

// lasting is a tenure without an end.
type lasting string

func (l lasting) ID() string             { return string(l) }
func (lasting) Context() context.Context { return context.Background() }
func (lasting) Fence() func() error      { return nil }

// Running returns the number of operations that run, and that wait for others.
func (e *Engine) Running() (running, waiting int) { return e.scheduler.counts() }

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
		for _, j := range e.scheduler.close() {
			e.forget(j.id)
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

// Working tells whether this worker has an operation, or is about to have it.
func (e *Engine) Working(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, stranded := e.stranded[id]
	return e.coming[id] || e.runs[id] != nil || stranded
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
	e.held[r.entry.ProjectID] += r.job.size
	e.alive.Add(1)
	return nil, true
}

// forget ends what enlist began.
func (e *Engine) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil {
		delete(e.runs, id)
		if e.held[r.entry.ProjectID] -= r.job.size; e.held[r.entry.ProjectID] <= 0 {
			delete(e.held, r.entry.ProjectID)
		}
		r.untie()
		r.leave(nil)
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
