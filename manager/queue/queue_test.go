// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// crew is jobs that run until they are told to end.
type crew struct {
	queue *Queue

	mu      sync.Mutex
	running map[string]*Job
	changed chan struct{}
}

func newCrew(l Limits) *crew {
	return &crew{queue: New(l, 3), running: map[string]*Job{}, changed: make(chan struct{}, 1)}
}

func (c *crew) submit(id, provider, project string) {
	j := &Job{ID: id, Provider: provider, Project: project, Size: 1, Park: func() {}}
	j.Run = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running[id] = j
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
	c.queue.Submit(j)
}

// now returns the jobs that run, when all that the queue has started do.
func (c *crew) now() map[string]*Job {
	for {
		started, _ := c.queue.Counts()
		c.mu.Lock()
		running := maps.Clone(c.running)
		c.mu.Unlock()
		if len(running) == started {
			return running
		}
		<-c.changed
	}
}

func (c *crew) end(id string) {
	c.mu.Lock()
	j := c.running[id]
	delete(c.running, id)
	c.mu.Unlock()
	c.queue.Release(j)
}

func (c *crew) names() []string { return slices.Sorted(maps.Keys(c.now())) }

// A project that asks for much does not keep the others from their turns, and
// everybody sees the place in the queue.
func TestProjectsTakeTurns(t *testing.T) {
	t.Parallel()
	c := newCrew(Limits{Total: 1})
	for i := range 4 {
		c.submit(fmt.Sprint("a", i), "p", "a")
	}
	c.submit("b0", "p", "b")
	c.submit("c0", "p", "c")
	c.submit("b1", "p", "b")
	want := []string{"a0", "a1", "b0", "c0", "a2", "b1", "a3"}
	for i, id := range want {
		if got := c.names(); !slices.Equal(got, []string{id}) {
			t.Fatalf("%v runs, want %s", got, id)
		}
		places := map[string]int{}
		for place, later := range want[i+1:] {
			places[later] = place + 1
		}
		if got := c.queue.Positions(); !maps.Equal(got, places) {
			t.Errorf("while %s runs the places are %v, want %v", id, got, places)
		}
		c.end(id)
	}
}

// A limit of one provider, or of one project, keeps nobody else waiting.
func TestLimitsOfOthers(t *testing.T) {
	t.Parallel()
	c := newCrew(Limits{PerProvider: 2, PerProject: 1})
	c.submit("1", "slow", "a")
	c.submit("2", "slow", "a") // its project has one
	c.submit("3", "slow", "b")
	c.submit("4", "slow", "c") // its provider has two
	c.submit("5", "fast", "c") // behind 4 in the queue, and free to go
	if got := c.names(); !slices.Equal(got, []string{"1", "3", "5"}) {
		t.Errorf("%v run", got)
	}
	c.end("5")
	c.end("1")
	if got := c.names(); !slices.Equal(got, []string{"2", "3"}) && !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("then %v run", got)
	}
}

// Whatever is asked for, withdrawn and ended in whatever order: no limit is
// passed, nobody waits who might run, places are a row from 1, and all have their
// turn.
func TestQueueProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 3)
		l := Limits{Total: limit.Draw(t, "total"), PerProvider: limit.Draw(t, "per provider"), PerProject: limit.Draw(t, "per project")}
		c := newCrew(l)
		waiting := map[string][2]string{} // provider and project by id
		asked := 0
		check := func() {
			running := c.now()
			providers, projects := map[string]int{}, map[string]int{}
			for id, j := range running {
				delete(waiting, id)
				providers[j.Provider]++
				projects[j.Project]++
			}
			full := func(n, limit int) bool { return limit > 0 && n >= limit }
			if l.Total > 0 && len(running) > l.Total {
				t.Fatalf("%d run", len(running))
			}
			for id, of := range waiting {
				if !full(len(running), l.Total) && !full(providers[of[0]], l.PerProvider) && !full(projects[of[1]], l.PerProject) {
					t.Fatalf("%s waits and might run", id)
				}
			}
			for name, n := range providers {
				if l.PerProvider > 0 && n > l.PerProvider {
					t.Fatalf("%d of provider %s run", n, name)
				}
			}
			for name, n := range projects {
				if l.PerProject > 0 && n > l.PerProject {
					t.Fatalf("%d of project %s run", n, name)
				}
			}
			places := c.queue.Positions()
			if len(places) != len(waiting) {
				t.Fatalf("%d have places, %d wait", len(places), len(waiting))
			}
			if got := slices.Sorted(maps.Values(places)); len(got) > 0 && (got[0] != 1 || got[len(got)-1] != len(got)) {
				t.Fatalf("the places are %v", got)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch running := c.names(); rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				asked++
				id := fmt.Sprint(asked)
				of := [2]string{rapid.SampledFrom([]string{"p", "q"}).Draw(t, "provider"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "project")}
				waiting[id] = of
				c.submit(id, of[0], of[1])
			case 2:
				if len(running) > 0 {
					c.end(rapid.SampledFrom(running).Draw(t, "ended"))
				}
			case 3:
				if len(waiting) > 0 {
					id := rapid.SampledFrom(slices.Sorted(maps.Keys(waiting))).Draw(t, "withdrawn")
					if j := c.queue.Withdraw(id); j == nil || j.ID != id {
						t.Fatalf("%s cannot be withdrawn", id)
					}
					delete(waiting, id)
				}
			}
			check()
		}
		for running := c.names(); len(running) > 0; running = c.names() {
			c.end(running[0])
			check()
		}
		if len(waiting) > 0 {
			t.Fatalf("%v never had a turn", waiting)
		}
		if c.queue.kept != 0 {
			t.Fatalf("%d bytes are kept", c.queue.kept)
		}
	})
}

// A queue that is closed gives back what waits, and takes nothing more.
func TestClosedQueue(t *testing.T) {
	t.Parallel()
	c := newCrew(Limits{Total: 1})
	c.submit("1", "p", "a")
	c.submit("2", "p", "a")
	c.submit("3", "p", "b")
	if got := c.names(); !slices.Equal(got, []string{"1"}) {
		t.Fatalf("%v run", got)
	}
	dropped := c.queue.Close()
	if len(dropped) != 2 || len(c.queue.Positions()) != 0 {
		t.Errorf("dropped %v, places %v", dropped, c.queue.Positions())
	}
	if c.queue.Submit(&Job{ID: "4"}) {
		t.Error("a job is taken")
	}
	c.end("1")
	if got := c.names(); len(got) != 0 {
		t.Errorf("%v run", got)
	}
}
