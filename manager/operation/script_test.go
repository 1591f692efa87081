// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// act is what a hook does beside its work.
type act string

const (
	works  act = "works"
	fails  act = "fails"
	panics act = "panics"
	blocks act = "blocks" // until its context ends
)

// fate is the end of a process: at which of its calls, and how.
type fate struct {
	at    int // 0: it lives on
	stops bool
	grace time.Duration // of a stop
}

// hiccup is what goes wrong with one write to a database.
type hiccup int

const (
	away hiccup = iota + 1
	answerLost
)

// store is what may be away.
type store string

const (
	bankWrites  store = "bank writes"
	bankAnswers store = "answers of the bank to writes" // which it does
	wholeBank   store = "bank"                          // leases and all
	tables      store = "database"
)

// outage is a while in which a store does not answer.
type outage struct {
	store store
	at    int // the moment at which it begins, counted over all processes
	lasts time.Duration
}

// scenario is everything that is drawn.
type scenario struct {
	kind      protection.Kind
	resources []resource.Resource
	children  map[int][]int
	acts      map[string]act // by hook and resource
	fates     []fate
	hiccups   map[int]hiccup // by the number of the write, counted over all processes
	outage    outage
	cancelAt  int // the moment, counted over all processes, from which on a user asks for the end; 0: never
	sources   int // checkpoints, more than one in a copy
	workers   int
	seed      uint64
}

var hookNames = []string{"on_prepare_begin", "on_prepare_finish", "on_main", "on_complete"}

func drawScenario(t *rapid.T) *scenario {
	kinds := []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy}
	s := &scenario{
		kind: rapid.SampledFrom(kinds).Draw(t, "kind"), children: map[int][]int{}, acts: map[string]act{}, hiccups: map[int]hiccup{}, sources: 1,
		workers: rapid.SampledFrom([]int{1, 2, 100}).Draw(t, "workers"), seed: rapid.Uint64().Draw(t, "seed"),
	}
	types := []string{resource.Server, resource.Volume}
	n := rapid.IntRange(1, 6).Draw(t, "resources")
	for i := range n {
		s.resources = append(s.resources, resource.Resource{Type: rapid.SampledFrom(types).Draw(t, "type"), ID: fmt.Sprintf("r%d", i), Name: "n"})
		for child := range i {
			if rapid.IntRange(0, 2).Draw(t, "linked") == 0 {
				s.children[i] = append(s.children[i], child)
			}
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "failures") {
		st := step{"", rapid.SampledFrom(s.resources).Draw(t, "failing").Key(), rapid.SampledFrom(hookNames).Draw(t, "hook")}
		s.acts[st.String()] = rapid.SampledFrom([]act{fails, panics, blocks}).Draw(t, "act")
	}
	if s.kind == protection.Copy {
		s.sources = rapid.IntRange(1, 2).Draw(t, "sources")
	}
	calls := s.sources * (40 + 30*n)
	for range rapid.IntRange(0, 4).Draw(t, "ends") {
		f := fate{at: rapid.IntRange(1, calls).Draw(t, "at"), stops: rapid.IntRange(0, 3).Draw(t, "stops") == 0}
		f.grace = time.Duration(rapid.SampledFrom([]int{0, 5, 1000}).Draw(t, "grace")) * time.Millisecond
		s.fates = append(s.fates, f)
	}
	for range rapid.IntRange(0, 3).Draw(t, "hiccups") {
		s.hiccups[rapid.IntRange(1, calls/2).Draw(t, "write")] = rapid.SampledFrom([]hiccup{away, answerLost}).Draw(t, "hiccup")
	}
	if s.sources == 1 && rapid.IntRange(0, 2).Draw(t, "outage") == 0 {
		s.outage = outage{
			store: rapid.SampledFrom([]store{bankWrites, bankAnswers, wholeBank, tables}).Draw(t, "away"), at: rapid.IntRange(1, calls).Draw(t, "away from"),
			lasts: rapid.SampledFrom([]time.Duration{5 * time.Second, time.Minute, 2 * bank.DefaultLeaseWindows().Expire}).Draw(t, "away for"),
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "cancels") == 0 {
		s.cancelAt = rapid.IntRange(1, calls).Draw(t, "cancel at")
	}
	return s
}

// cloud is the resources as protectables find them.
func (s *scenario) cloud() children {
	c := children{}
	for i, r := range s.resources {
		for _, child := range s.children[i] {
			c[r.Key()] = append(c[r.Key()], s.resources[child])
		}
	}
	return c
}

func (s *scenario) mayFail() bool { return len(s.acts) > 0 }

// before lists the hooks that have to have ended before a hook may start.
func (s *scenario) before(st step) []step {
	var list []step
	if at := slices.Index(hookNames, st.hook); at > 0 {
		list = append(list, step{st.checkpoint, st.resource, hookNames[at-1]})
	}
	for i, r := range s.resources {
		for _, child := range s.children[i] {
			c := s.resources[child].Key()
			switch {
			case st.hook == "on_prepare_begin" && c == st.resource:
				list = append(list, step{st.checkpoint, r.Key(), st.hook})
			case (st.hook == "on_prepare_finish" || st.hook == "on_complete") && r.Key() == st.resource:
				list = append(list, step{st.checkpoint, c, st.hook})
			}
		}
	}
	return list
}

// plugin is a plugin whose hooks do as the scenario says.
func (l *life) plugin() hookPlugin {
	return hookPlugin{func(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		if kind != l.world.scenario.kind {
			return &protection.Operation{Main: l.remove}, nil // the Delete of what a protection made
		}
		o := &protection.Operation{
			PrepareBegin: l.hook(hookNames[0]), PrepareFinish: l.hook(hookNames[1]), Main: l.hook(hookNames[2]), Complete: l.hook(hookNames[3]),
		}
		if kind == protection.Restore {
			o.Undo = l.undo
		}
		return o, nil
	}}
}

func (l *life) hook(name string) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		s := step{written(c), c.Resource.Key(), name}
		l.world.enter(s)
		err := l.act(ctx, c, s)
		l.world.leave(s, err)
		return err
	}
}

// written is the id of the checkpoint that an operation is about.
func written(c *protection.Call) string {
	if c.Copy != nil {
		return c.Copy.ID()
	}
	return c.Checkpoint.ID()
}

// enter checks that a hook may run now.
func (w *world) enter(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.history(s)
	say := func(format string, args ...any) {
		w.wrong = append(w.wrong, s.String()+" "+fmt.Sprintf(format, args...))
	}
	switch {
	case w.isOver():
		say("runs after the end")
	case h.recorded:
		say("runs again though it is on record as done")
	case h.running > 0:
		say("runs twice at a time")
	case w.undone[s.resource]:
		say("runs after it was undone")
	}
	for _, earlier := range w.scenario.before(s) {
		if !w.history(earlier).ended {
			say("runs before %s has ended", earlier)
		}
	}
	h.running++
}

func (w *world) leave(s step, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.history(s)
	h.running--
	h.ended = h.ended || err == nil
}

// act does what the scenario says, and then the hook's work.
func (l *life) act(ctx context.Context, c *protection.Call, s step) error {
	if err := l.pass(s.String()); err != nil {
		return err
	}
	switch l.world.scenario.acts[s.String()] {
	case fails:
		return fmt.Errorf("no luck in %s", s)
	case panics:
		l.world.leave(s, errKilled) // nobody else does
		panic(fmt.Sprintf("a bug in %s", s))
	case blocks:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := l.make(ctx, c, s); err != nil {
		return err
	}
	switch {
	case s.hook == "on_main":
		return l.main(ctx, c)
	case s.hook == "on_complete" && c.NewResources != nil:
		if id, _ := c.NewResources.Get(c.Resource.ID); id != "new-"+c.Resource.ID {
			l.world.complain("the new resource of %s is %q when it completes", s.resource, id)
		}
		return c.UpdateStatus(ctx, "new-"+c.Resource.ID, "available", "")
	}
	return nil
}

// make makes something that must not be made twice. What the service calls it is
// kept before it is asked for, and that is remarked but once.
func (l *life) make(ctx context.Context, c *protection.Call, s step) error {
	names := map[string]string{}
	if err := c.LoadState(ctx, &names); err != nil {
		return err
	}
	if names[s.hook] == "" {
		names[s.hook] = newID()
		c.Remark(remark.Remark{Aspect: s.hook})
		if err := c.SaveState(ctx, names); err != nil {
			return err
		}
	}
	return l.write("make "+s.String(), func() error {
		w := l.world
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.history(s)
		if h.token != "" && h.token != names[s.hook] {
			w.wrong = append(w.wrong, s.String()+" has made what it makes twice")
		}
		h.token = names[s.hook]
		return nil
	})
}

const dataKey = "data"

func (l *life) main(ctx context.Context, c *protection.Call) error {
	switch l.world.scenario.kind {
	case protection.Protect, protection.Copy:
		return c.Section.PutText(ctx, dataKey, "x")
	case protection.Delete:
		return l.remove(ctx, c)
	case protection.Restore:
		c.NewResources.Set(c.Resource.ID, "new-"+c.Resource.ID)
		return c.UpdateStatus(ctx, "new-"+c.Resource.ID, "restoring", "")
	}
	_, err := c.Section.GetText(ctx, dataKey)
	return err
}

func (l *life) remove(ctx context.Context, c *protection.Call) error {
	l.world.undo(c.Resource.Key(), l.world.scenario.kind != protection.Delete)
	err := c.Section.Delete(ctx, dataKey)
	if errors.Is(err, bank.ErrNotFound) {
		return nil
	}
	return err
}

func (l *life) undo(_ context.Context, c *protection.Call) error {
	l.world.undo(c.Resource.Key(), true)
	return l.write("undo "+c.Resource.Key().String(), func() error { return nil })
}

func (w *world) undo(r resource.Key, mark bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !mark {
		return
	}
	if w.scenario.sources == 1 {
		w.undone[r] = true
	}
	for s, h := range w.hooks {
		if s.resource == r && h.running > 0 && w.scenario.sources == 1 {
			w.wrong = append(w.wrong, s.String()+" runs while it is undone")
		}
	}
}
