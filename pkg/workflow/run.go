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

	// Observer, if any, is told of each change. The calls for one task come in
	// order, and a task's Finished is over before a task behind it starts;
	// calls for different tasks may overlap. The task waits for the call. It
	// must not panic.
	Observer func(Event)

	// Clock gives the time of events; nil means time.Now.
	Clock func() time.Time
}

// Run runs the tasks of a graph and returns when the last one has ended.
//
// A task starts when all the tasks before it have finished, the earliest ready
// first. After the first failure, or the end of ctx, no task starts; those
// that are running go on to their end, and then all that had started are
// reverted one by one, the last that ended first, the failed ones included. A
// failing revert does not keep the others from being reverted.
//
// Errors: ErrCycle, with nothing done, or *Error. The end of ctx is no failure
// of a run in which nothing was left to start.
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

// startWorker starts one more worker if there is a task for it. Only one at a time is
// on its way: it hires the next when it begins, so that short tasks do not
// fill the processors with workers that find nothing left to do, and long ones
// still all run at once.
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

// take gives the next task to start, if one may start.
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

// complete records the end of a task and makes ready what waited for it alone.
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

// fail keeps the first failure apart from the others. A task that fails after
// the context has ended most likely fails because of it, so that the cause of
// the context counts as the first.
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

// conclude reverts a run that failed. All workers are gone by now.
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

// State is what became of a task.
type State int

// The states of a task. Each starts at most once and then either finishes or
// fails; in a run that failed, those that had started are then reverted, if
// they have a Revert, and those that had not are skipped.
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

// Event tells of one change.
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

// Unwrap leads to the first failure alone: the others are consequences or
// coincidence.
func (e *Error) Unwrap() error { return e.Err }

// PanicError reports a panic of a task. Only the run of that task fails.
type PanicError struct {
	Value any
	// Stack is for a log; it is no part of the error's text, which users see.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the value of the panic if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
