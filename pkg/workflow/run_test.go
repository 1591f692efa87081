// SPDX-License-Identifier: Apache-2.0

package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/karbor-project/karbor/pkg/workflow"
)

// chain links tasks one behind the other.
func chain(tasks ...workflow.Task) *workflow.Graph {
	g := workflow.New()
	for i, t := range tasks {
		id := g.Add(t)
		if i > 0 {
			g.Link(id-1, id)
		}
	}
	return g
}

func TestEmptyGraphs(t *testing.T) {
	t.Parallel()
	if err := workflow.Run(t.Context(), workflow.New(), workflow.Options{}); err != nil {
		t.Errorf("no tasks: %v", err)
	}
	if err := workflow.Run(t.Context(), chain(workflow.Task{}, workflow.Task{}), workflow.Options{}); err != nil {
		t.Errorf("tasks with nothing to do: %v", err)
	}
}

func TestCycleStartsNothing(t *testing.T) {
	t.Parallel()
	ran := false
	g := chain(workflow.Task{Run: func(context.Context) error { ran = true; return nil }},
		workflow.Task{Name: "b"}, workflow.Task{Name: "c"})
	g.Link(2, 1)
	if err := g.Check(); !errors.Is(err, workflow.ErrCycle) {
		t.Errorf("Check: %v", err)
	}
	err := workflow.Run(t.Context(), g, workflow.Options{})
	if !errors.Is(err, workflow.ErrCycle) || !strings.Contains(err.Error(), `2 tasks can never start, the first is "b"`) {
		t.Errorf("Run: %v", err)
	}
	if ran {
		t.Error("a task ran")
	}
	own := workflow.New()
	a := own.Add(workflow.Task{})
	own.Link(a, a)
	if err := own.Check(); !errors.Is(err, workflow.ErrCycle) {
		t.Errorf("task behind itself: %v", err)
	}
}

func TestLinkRefusesUnknownTasks(t *testing.T) {
	t.Parallel()
	for _, id := range []workflow.ID{-1, 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Link took task %d of a graph of 1", id)
				}
			}()
			g := chain(workflow.Task{})
			g.Link(0, id)
		}()
	}
}

func TestWorkersBoundTasks(t *testing.T) {
	t.Parallel()
	const limit = 3
	var running atomic.Int32
	full := make(chan struct{})
	g := workflow.New()
	for range 4 * limit {
		g.Add(workflow.Task{Run: func(context.Context) error {
			n := running.Add(1)
			defer running.Add(-1)
			if n > limit {
				return fmt.Errorf("%d tasks at once", n)
			}
			if n == limit {
				select {
				case <-full:
				default:
					close(full)
				}
			}
			<-full // all of the first three come here, or the test hangs
			return nil
		}})
	}
	if err := workflow.Run(t.Context(), g, workflow.Options{Workers: limit}); err != nil {
		t.Error(err)
	}
}

// Tasks that wait for others cost no goroutine.
func TestWaitingTasksAreNoGoroutines(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	g := workflow.New()
	first := g.Add(workflow.Task{Run: func(context.Context) error { close(inside); <-release; return nil }})
	for range 10_000 {
		g.Link(first, g.Add(workflow.Task{}))
	}
	before := runtime.NumGoroutine()
	done := make(chan error)
	go func() { done <- workflow.Run(context.Background(), g, workflow.Options{}) }()
	<-inside
	if more := runtime.NumGoroutine() - before; more > 100 {
		t.Errorf("%d goroutines more with one task running", more)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFailureLetsRunningTasksFinishAndRevertsBackwards(t *testing.T) {
	t.Parallel()
	boom, late := errors.New("boom"), errors.New("late")
	failed := make(chan struct{})
	var mu sync.Mutex
	var reverts []string
	var events []workflow.Event
	task := func(name string, run func() error) workflow.Task {
		return workflow.Task{
			Name: name,
			Run:  func(context.Context) error { return run() },
			Revert: func(_ context.Context, cause error) error {
				if !errors.Is(cause, boom) {
					t.Errorf("cause of %s's revert is %v", name, cause)
				}
				reverts = append(reverts, name)
				if name == "first" {
					return errors.New("stuck")
				}
				return nil
			},
		}
	}
	observe := func(e workflow.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
		if e.State == workflow.Failed && e.Task == "fails" {
			close(failed)
		}
	}
	ok := func() error { return nil }
	wait := func(err error) func() error { return func() error { <-failed; return err } }
	g := workflow.New()
	first := g.Add(task("first", ok))
	fails := g.Add(task("fails", func() error { return boom }))
	slow := g.Add(task("slow", wait(nil)))
	failsToo := g.Add(task("fails too", wait(late)))
	never := g.Add(task("never", ok))
	for _, id := range []workflow.ID{slow, failsToo, fails} {
		g.Link(first, id)
	}
	g.Link(slow, never)

	at := time.Unix(0, 0)
	err := workflow.Run(t.Context(), g, workflow.Options{Observer: observe, Clock: func() time.Time { return at }})

	var e *workflow.Error
	if !errors.As(err, &e) || e.Task != "fails" || !errors.Is(err, boom) {
		t.Fatalf("error is %v", err)
	}
	if len(e.Others) != 1 || !errors.Is(e.Others[0], late) || len(e.RevertErrs) != 1 {
		t.Errorf("others are %v, revert errors %v", e.Others, e.RevertErrs)
	}
	if got, want := err.Error(), "task fails: boom (1 more failed) (1 not reverted)"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if len(reverts) != 4 || reverts[3] != "first" || reverts[2] != "fails" {
		t.Errorf("reverts are %v", reverts)
	}
	last := events[len(events)-1]
	if diff := cmp.Diff(workflow.Event{Task: "never", State: workflow.Skipped, At: at}, last, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("last event (-want +got):\n%s", diff)
	}
}

func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	observe := func(e workflow.Event) { got = append(got, e.Task+" "+e.State.String()) }
	boom := errors.New("boom")
	none := func(context.Context, error) error { return nil }
	g := chain(workflow.Task{Name: "a", Revert: none}, workflow.Task{Name: "b"},
		workflow.Task{Name: "c", Run: func(context.Context) error { return boom }, Revert: none}, workflow.Task{Name: "d"})
	if err := workflow.Run(t.Context(), g, workflow.Options{Observer: observe}); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	want := []string{"a started", "a finished", "b started", "b finished", "c started", "c failed", "c reverted", "a reverted", "d skipped"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := workflow.State(0).String(); got != "state 0" {
		t.Errorf("no state reads %q", got)
	}
}

func TestPanicsFailTheirTaskOnly(t *testing.T) {
	t.Parallel()
	inner := errors.New("nil map")
	g := chain(
		workflow.Task{Name: "a", Revert: func(context.Context, error) error { panic("in revert") }},
		workflow.Task{Name: "b", Run: func(context.Context) error { panic(inner) }})
	err := workflow.Run(t.Context(), g, workflow.Options{})
	var p *workflow.PanicError
	if !errors.As(err, &p) || !errors.Is(err, inner) {
		t.Fatalf("error is %v", err)
	}
	if !strings.Contains(string(p.Stack), "TestPanicsFailTheirTaskOnly") {
		t.Errorf("stack does not show the task:\n%s", p.Stack)
	}
	if strings.Contains(err.Error(), "goroutine") {
		t.Errorf("text shows the stack: %v", err)
	}
	var e *workflow.Error
	if !errors.As(err, &e) || len(e.RevertErrs) != 1 || !strings.Contains(e.RevertErrs[0].Error(), "in revert") {
		t.Errorf("panic of the revert is lost: %v", err)
	}
}

func TestEndOfContextStopsTheRun(t *testing.T) {
	t.Parallel()
	lost := errors.New("lease lost")
	type key struct{}
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "kept"))
	reverted := false
	ran := false
	g := chain(
		workflow.Task{
			Name: "a",
			Run: func(ctx context.Context) error {
				cancel(lost)
				<-ctx.Done()
				return ctx.Err()
			},
			Revert: func(ctx context.Context, cause error) error {
				if ctx.Err() != nil || ctx.Value(key{}) != "kept" || !errors.Is(cause, lost) {
					t.Errorf("revert got context error %v, value %v, cause %v", ctx.Err(), ctx.Value(key{}), cause)
				}
				reverted = true
				return nil
			},
		},
		workflow.Task{Name: "b", Run: func(context.Context) error { ran = true; return nil }})
	err := workflow.Run(ctx, g, workflow.Options{})
	var e *workflow.Error
	if !errors.As(err, &e) || e.Task != "" || !errors.Is(err, lost) || len(e.Others) != 1 {
		t.Errorf("error is %v", err)
	}
	if !reverted || ran {
		t.Errorf("reverted: %t, next task ran: %t", reverted, ran)
	}
	if err := workflow.Run(ctx, g, workflow.Options{}); !errors.Is(err, lost) || ran {
		t.Errorf("run with an ended context: %v", err)
	}
}

func TestEndOfContextAfterTheLastStartIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	g := chain(workflow.Task{Run: func(context.Context) error { cancel(); return nil }})
	if err := workflow.Run(ctx, g, workflow.Options{}); err != nil {
		t.Error(err)
	}
}

func TestLargeGraphs(t *testing.T) {
	t.Parallel()
	for _, width := range []int{1, 1000, large} {
		var ran atomic.Int64
		g := columns(large, width, workflow.Task{Run: func(context.Context) error { ran.Add(1); return nil }})
		if err := workflow.Run(t.Context(), g, workflow.Options{}); err != nil || ran.Load() != large {
			t.Errorf("width %d: %d tasks ran, error %v", width, ran.Load(), err)
		}
	}
}

func TestOneGraphRunsManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	g := columns(100, 10, workflow.Task{Run: func(context.Context) error { ran.Add(1); return nil }})
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = workflow.Run(t.Context(), g, workflow.Options{Workers: 4}) })
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 || ran.Load() != 800 {
		t.Errorf("errors %v, %d tasks ran", errs, ran.Load())
	}
}
