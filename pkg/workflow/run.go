// SPDX-License-Identifier: Apache-2.0

package workflow

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultWorkers is how many tasks run at a time unless an option says
// otherwise. Workers are made when there is work for them, so that a high
// bound costs nothing; the first is the goroutine that calls Run.
//
// taskflow: the size of a green thread pool
const DefaultWorkers = 1000

// Options of a run. The zero value is usable.
type Options struct {
	// Workers bounds how many tasks run at a time; below 1 means
	// DefaultWorkers.
	Workers int

	// Observer, if set, receives each change. The calls for one task come in order, and
	// a task's Finished returns before a later task starts; calls for different tasks
	// may overlap. The task waits for the call. Observer must not panic.
	Observer func(Event)

	// Clock returns the time of events; nil means time.Now.
	Clock func() time.Time
}

// Run runs the tasks of a graph and returns when the last one has ended.
//
// A task starts when all its predecessors have finished, the earliest ready task first.
// After the first failure, or the end of ctx, no further task starts; running tasks run
// to their end. Then all tasks that had started are reverted one by one, failed ones
// included, the last that ended first. A failing revert does not stop the other
// reverts.
//
// The error is ErrCycle, with nothing done, or *Error. A run in which every task had
// already started when ctx ended does not fail.
func Run(ctx context.Context, g *Graph, o Options) error {
	p := compile(g)
	if err := p.check(g); err != nil {
		return err
	}
	r := &run{ctx: ctx, graph: g, plan: p, options: o, ready: p.ready()}
	if r.options.Workers < 1 {
		r.options.Workers = DefaultWorkers
	}
	if r.options.Clock == nil {
		r.options.Clock = time.Now
	}
	// The first worker is the caller: thousands of runs that wait for one task
	// each have one goroutine each.
	r.workers, r.starting = 1, true
	r.work()
	r.wg.Wait()
	return r.conclude()
}

// run is the state of one Run.
type run struct {
	ctx     context.Context
	graph   *Graph
	plan    *plan // waiting counts down under mu
	options Options
	wg      sync.WaitGroup

	mu       sync.Mutex
	ready    []ID // every task that ever became ready, in that order
	taken    int  // so many of ready have started
	ended    []ID // in the order in which they ended
	workers  int  // how many there are
	starting bool // the newest worker has not begun
	failed   *Error
}

// startWorker starts one more worker if there is a task for it. Only one worker starts
// at a time and starts the next when it begins, so that short tasks do not fill the
// processors with idle workers and long tasks still all run at once.
func (r *run) startWorker() {
	if r.taken == len(r.ready) || r.workers == r.options.Workers || r.starting {
		return
	}
	r.starting = true
	r.workers++
	r.wg.Go(r.work)
}

// work runs tasks until none is ready.
func (r *run) work() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = false
	for {
		id, ok := r.take()
		if !ok {
			r.workers--
			return
		}
		r.startWorker()
		r.mu.Unlock()
		err := r.execute(id)
		r.mu.Lock()
		r.complete(id, err)
	}
}

// take returns the next task to start, if one may start.
func (r *run) take() (ID, bool) {
	if r.taken == len(r.ready) || r.failed != nil {
		return 0, false
	}
	if r.ctx.Err() != nil {
		r.failed = &Error{Err: context.Cause(r.ctx)}
		return 0, false
	}
	id := r.ready[r.taken]
	r.taken++
	return id, true
}

func (r *run) execute(id ID) error {
	task := &r.graph.tasks[id]
	r.notify(task, Started, nil)
	var err error
	if task.Run != nil {
		err = guard(func() error { return task.Run(r.ctx) })
	}
	if err != nil {
		r.notify(task, Failed, err)
		return err
	}
	r.notify(task, Finished, nil)
	return nil
}

// complete records the end of a task and marks the tasks ready that waited only for it.
func (r *run) complete(id ID, err error) {
	r.ended = append(r.ended, id)
	if err != nil {
		r.fail(r.graph.tasks[id].Name, err)
		return
	}
	for _, next := range r.plan.after(id) {
		if r.plan.waiting[next]--; r.plan.waiting[next] == 0 {
			r.ready = append(r.ready, next)
		}
	}
}

// fail records a failure, the first one separately. A task that fails after the context
// has ended most likely fails because of it, so then the cause of the context counts as
// the first failure.
func (r *run) fail(task string, err error) {
	if r.failed == nil && r.ctx.Err() == nil {
		r.failed = &Error{Task: task, Err: err}
		return
	}
	if r.failed == nil {
		r.failed = &Error{Err: context.Cause(r.ctx)}
	}
	r.failed.Others = append(r.failed.Others, fmt.Errorf("task %s: %w", task, err))
}

// conclude reverts a failed run. All workers have ended by then.
func (r *run) conclude() error {
	if r.failed == nil {
		return nil
	}
	ctx := context.WithoutCancel(r.ctx)
	for _, id := range slices.Backward(r.ended) {
		task := &r.graph.tasks[id]
		if task.Revert == nil {
			continue
		}
		err := guard(func() error { return task.Revert(ctx, r.failed.Err) })
		if err != nil {
			r.failed.RevertErrs = append(r.failed.RevertErrs, fmt.Errorf("reverting task %s: %w", task.Name, err))
		}
		r.notify(task, Reverted, err)
	}
	r.skip()
	return r.failed
}

// skip reports the tasks that never started, in the order of the graph.
func (r *run) skip() {
	if r.options.Observer == nil {
		return
	}
	started := make([]bool, len(r.graph.tasks))
	for _, id := range r.ended {
		started[id] = true
	}
	for i := range r.graph.tasks {
		if !started[i] {
			r.notify(&r.graph.tasks[i], Skipped, nil)
		}
	}
}

func (r *run) notify(t *Task, s State, err error) {
	if r.options.Observer != nil {
		r.options.Observer(Event{Task: t.Name, State: s, Err: err, At: r.options.Clock()})
	}
}

// State is the state of a task.
type State int

// The states of a task. Each task starts at most once and then either finishes or
// fails; in a failed run, started tasks that have a Revert are then reverted, and tasks
// that had not started are skipped.
const (
	Started State = iota + 1
	Finished
	Failed
	Reverted
	Skipped
)

func (s State) String() string {
	switch s {
	case Started:
		return "started"
	case Finished:
		return "finished"
	case Failed:
		return "failed"
	case Reverted:
		return "reverted"
	case Skipped:
		return "skipped"
	}
	return fmt.Sprintf("state %d", int(s))
}

// Event describes one change.
type Event struct {
	Task  string
	State State
	// Err is the failure of the task or, for Reverted, of its Revert.
	Err error
	At  time.Time
}

// Error is the failure of a run.
type Error struct {
	// Task is the task that failed first, empty if the context ended the run.
	Task string
	// Err is its error, or the cause of the context.
	Err error
	// Others are the failures of tasks that were running at that time.
	Others []error
	// RevertErrs are the failures of reverts, in the order of the reverts.
	RevertErrs []error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Task != "" {
		fmt.Fprintf(&b, "task %s: ", e.Task)
	}
	b.WriteString(e.Err.Error())
	if n := len(e.Others); n > 0 {
		fmt.Fprintf(&b, " (%d more failed)", n)
	}
	if n := len(e.RevertErrs); n > 0 {
		fmt.Fprintf(&b, " (%d not reverted)", n)
	}
	return b.String()
}

// Unwrap returns only the first failure: the others are consequences or coincidence.
func (e *Error) Unwrap() error { return e.Err }

// PanicError is the error for a panic in a task. Only the run of that task fails.
type PanicError struct {
	Value any
	// Stack is for the log; it is not part of the error's text, which users see.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value of the panic if the value is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard calls f and returns a panic as an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
