// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/queue"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// Options are the options of this package in the main configuration.
var Options = []config.Option{
	{Name: "max_concurrent_operations", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "The largest number of operations that run at a time. Further ones wait, the projects taking turns; " +
			"their calls are answered at once. 0 means no limit."},
	{Name: "max_concurrent_operations_per_provider", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "The largest number of operations of one provider that run at a time. 0 means no limit."},
	{Name: "max_concurrent_operations_per_project", Kind: config.Int, Default: 1000, Min: config.Bound(0),
		Help: "The largest number of operations of one project that run at a time. 0 means no limit."},
	{Name: "max_queued_operations_per_project", Kind: config.Int, Default: 10000, Min: config.Bound(0),
		Help: "The largest number of operations of one project that wait for their turn. Further ones are refused. 0 means no limit."},
	{Name: "max_operation_bytes_per_project", Kind: config.Int, Default: 64 << 20, Min: config.Bound(0),
		Help: "The largest number of bytes that the plans and resource graphs of one project's operations may take that run or wait in this worker. " +
			"Further operations are refused, unless it is the only one. 0 means no limit."},
	{Name: "max_resources_per_operation", Kind: config.Int, Default: 20000, Min: config.Bound(0),
		Help: "The largest number of resources that one operation may be about: those of the plan or checkpoint, and all that depends on them. " +
			"Verifications and deletions are not bounded. A request for more is refused, and what is in progress fails. 0 means no limit."},
	{Name: "max_links_per_operation", Kind: config.Int, Default: 1000000, Min: config.Bound(0),
		Help: "The largest number of links from resources to those that depend on them that one operation may have. 0 means no limit."},
	{Name: "operation_crash_limit", Kind: config.Int, Default: 3, Min: config.Bound(0),
		Help: "The number of workers in a row that may die within half a minute of going on with an operation, no hook of which has finished since, " +
			"before it fails instead of being tried once more. The last try is made with no other such operation beside it. " +
			"1 fails operations that were merely at work in a worker that died. 0 means no limit."},
	{Name: "max_concurrent_tasks", Kind: config.Int, Default: 1000, Min: config.Bound(1),
		Help: "The largest number of hooks of one operation that run at a time."},
	{Name: "hook_timeout", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "Seconds after which a hook of a protection plugin is ended and its operation fails. 0 means no limit; " +
			"plugins have limits of their own for what they wait for."},
	{Name: "operation_timeout", Kind: config.Int, Default: 0, Min: config.Bound(0),
		Help: "Seconds after which an operation is ended and fails, counted from its start, over restarts. 0 means no limit."},
}

// Configure reads Options into c.
func (c *Config) Configure(cfg *config.Config) {
	number := func(name string) int { return cfg.Int(config.DefaultGroup, name) }
	c.Limits = queue.Limits{
		Total:       number("max_concurrent_operations"),
		PerProvider: number("max_concurrent_operations_per_provider"),
		PerProject:  number("max_concurrent_operations_per_project"),
	}
	c.MaxQueued, c.MaxBytes = number("max_queued_operations_per_project"), number("max_operation_bytes_per_project")
	c.MaxResources, c.MaxLinks = number("max_resources_per_operation"), number("max_links_per_operation")
	c.CrashLimit = number("operation_crash_limit")
	c.MaxTasks = number("max_concurrent_tasks")
	c.HookTimeout = time.Duration(number("hook_timeout")) * time.Second
	c.OperationTimeout = time.Duration(number("operation_timeout")) * time.Second
}

// ErrStopping is the cause with which running operations are handed over when the service stops.
var ErrStopping = errors.New("the service was stopped")

// Grapher finds the resources that depend on those of a plan, and the ones to leave out.
type Grapher interface {
	Graph(ctx context.Context, starts []resource.Resource, optional func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error)
}

// Records are the tables that operations write to. Their methods are idempotent and safe for
// concurrent use: an existing row is not created again, and the entries of resources_status and
// resources_reason are merged into those of the row.
type Records interface {
	CreateOperationLog(ctx context.Context, row *database.OperationLog) (string, error)
	UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error
	GetOperationLog(ctx context.Context, id string) (*database.OperationLog, error)
	Create(ctx context.Context, kind database.RecordKind, row *database.Record) (string, error)
	Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error
	Get(ctx context.Context, kind database.RecordKind, id string) (*database.Record, error)
}

// Providers finds the provider of a resumed operation.
type Providers interface {
	Get(id string) (*providers.Provider, error)
}

// Tenure is the identity under which this worker owns operations, and the time for which it does.
type Tenure interface {
	// ID is the owner's id, new for each run of the worker.
	ID() string
	// Context ends before other workers may consider this one dead. A tenure that is renewed after
	// a loss has a new context.
	Context() context.Context
	// Fence returns a function that reports, by the clock, whether the current tenure still lasts.
	// It returns nil, and, once the tenure has ended, always an error that is a
	// protection.ErrHandover.
	Fence() func() error
}

// Config has the dependencies and limits of an Engine.
type Config struct {
	Protectables Grapher
	Records      Records
	Log          logrus.FieldLogger

	// Journal keeps operations over restarts. It is required.
	Journal journal.Journal
	// Denials is the path of a file that keeps which operations could not be recorded as far
	// as their callers know; "" keeps that in memory only.
	Denials string
	// Tenure is the tenure of the worker; nil means one that never ends.
	Tenure Tenure
	// Sealer protects callers' credentials from readers of the database, and operations from its
	// writers. Without it credentials are not stored, and entries are trusted.
	Sealer Sealer
	// AcceptUnsigned accepts operations that were begun by workers without signatures.
	AcceptUnsigned bool
	// Providers is required to resume operations.
	Providers Providers

	// Limits bounds the operations that run at the same time.
	Limits queue.Limits
	// MaxQueued bounds the waiting operations of a project, and MaxBytes the size of its waiting
	// and running operations. Operations beyond are refused; 0 means no bound.
	MaxQueued int
	MaxBytes  int
	// MaxResources and MaxLinks bound the graph of an operation: its resources, and its links from
	// parents to children; 0 means no bound.
	MaxResources int
	MaxLinks     int
	// CrashLimit is the number of workers in a row that may die during an operation before it
	// fails; 0 means no limit.
	CrashLimit int
	// MaxTasks bounds the concurrent hooks of an operation; 0 means 1000.
	MaxTasks int
	// HookTimeout and OperationTimeout bound the duration of hooks and operations; 0 means no
	// bound. The time of an operation counts from its start, across restarts.
	HookTimeout      time.Duration
	OperationTimeout time.Duration
	// Observe is called for each operation that starts, and for each that has ended here. It must
	// not block; it may be nil.
	Observe func(Event)

	// Reachable returns the known reason why the bank of a provider cannot be reached. A new
	// operation does not wait for such a bank. It may be nil.
	Reachable func(context.Context, *providers.Provider) error

	// Patience is how long a request waits for another operation on the same checkpoint, which is
	// usually about to end; 0 means 5 s, a negative value no wait.
	Patience time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Event is the event for observers: the journal's entry, without its input, when the operation
// starts for the first time (journal.Running) and when it has ended (journal.Ended). A refused
// operation has no start.
type Event struct {
	journal.Entry
	Caller *requestcontext.RequestContext
	// Written and Read are the bytes of objects that this worker moved to and from banks.
	Written, Read int64
}

// Provider is the part of a provider that an operation needs.
type Provider interface {
	Plugin(resourceType string) (protection.Plugin, error)
}

var _ Provider = (*providers.Provider)(nil)
