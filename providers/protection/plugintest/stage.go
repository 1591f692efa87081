// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// stage is one operation in one world: what outlives the processes that work at
// it.
type stage struct {
	ctx   context.Context
	world *World
	kind  protection.Kind
	bank  bank.Plugin

	source string // id of the checkpoint
	copied string // id of the copy, "" in other operations

	state    *State
	status   *Recorder
	remarks  *Remarks
	restored map[string]string // by hooks that have ended
	next     int               // the hook at which the next process begins
	base     []string          // inventory before the operation
	entered  []string          // inventory before the hook that ran last
}

// newStage makes all ready for an operation: for others than a protect there is a
// checkpoint with the resource in it.
func newStage(t testing.TB, kind protection.Kind, build func(t testing.TB) *World) (*stage, error) {
	t.Helper()
	w := build(t)
	s := &stage{ctx: t.Context(), world: w, kind: protection.Protect, bank: w.Bank}
	if w.Caller != nil {
		s.ctx = requestcontext.New(s.ctx, w.Caller)
	}
	if s.bank == nil {
		s.bank = banktest.NewMemory()
	}
	cp, err := s.collection(s.bank).Create(s.ctx, plan())
	if err != nil {
		return nil, err
	}
	s.source = cp.ID()
	s.begin(protection.Protect)
	if kind != protection.Protect {
		if err := s.run(newProcess(s.ctx, cut{})); err != nil {
			return nil, fmt.Errorf("protect: %w", err)
		}
		s.begin(kind)
	}
	if kind == protection.Copy {
		cp, err := s.collection(s.bank).Create(s.ctx, plan())
		if err != nil {
			return nil, err
		}
		s.copied = cp.ID()
	}
	s.base, err = s.inventory()
	return s, err
}

func plan() checkpoint.CreateOptions {
	return checkpoint.CreateOptions{Plan: checkpoint.Plan{ID: "plan", ProviderID: "provider", ProjectID: "project"}}
}

// begin starts another operation in the same world.
func (s *stage) begin(kind protection.Kind) {
	s.kind, s.next, s.restored = kind, 0, nil
	s.state, s.status, s.remarks = &State{}, &Recorder{}, &Remarks{}
}

func (s *stage) collection(p bank.Plugin) *checkpoint.Collection {
	return checkpoint.NewCollection(bank.New(p, nil), "provider", checkpoint.Options{})
}

// call makes what the hooks get in a process.
func (s *stage) call(p *Process) (*protection.Call, error) {
	remarks := &remarks{kept: s.remarks}
	c := &protection.Call{
		Resource:     s.world.Resource,
		Graph:        s.world.Graph,
		Parameters:   s.world.Parameters[s.kind],
		NewResources: &protection.NewResources{},
		Status:       &recorder{s.status, p},
		State:        &state{s.state, p, remarks},
		Remarks:      remarks,
		Progress:     func(int) {},
	}
	if c.Graph == nil {
		c.Graph = &resource.Graph{Roots: []*resource.Node{{Resource: c.Resource}}}
	}
	for original, restored := range s.restored {
		c.NewResources.Set(original, restored)
	}
	checkpoints := s.collection(&store{s.bank, p})
	var err error
	if c.Checkpoint, err = checkpoints.Get(s.ctx, s.source); err != nil {
		return nil, err
	}
	written := c.Checkpoint
	if s.copied != "" {
		if c.Copy, err = checkpoints.Get(s.ctx, s.copied); err != nil {
			return nil, err
		}
		written = c.Copy
	}
	c.Section, err = written.Section(c.Resource.ID)
	return c, err
}

// run lets a process go on with the operation. It returns errKilled if the process
// did not live to the end.
func (s *stage) run(p *Process) error {
	defer p.cancel(nil)
	c, err := s.call(p)
	if err != nil {
		return err
	}
	operation, err := s.world.Plugin(p).Operation(s.kind, c.Resource)
	if err != nil {
		return err
	}
	hooks := hooksOf(operation)
	p.arm()
	for s.next < len(hooks) {
		if err := s.hook(p, c, hooks[s.next]); err != nil {
			return err
		}
		s.next++
	}
	return nil
}

func (s *stage) hook(p *Process, c *protection.Call, hook protection.Hook) error {
	if hook == nil {
		return nil
	}
	if p.cut.what == cancelled {
		var err error
		if s.entered, err = s.inventory(); err != nil {
			return err
		}
	}
	if p.ctx.Err() != nil { // it ended between two hooks
		return context.Cause(p.ctx)
	}
	err := hook(p.ctx, c)
	// A hook has ended when that is on record, which is one call more.
	if gone := p.call(s.ctx, "record the end of the hook", false, func(int) error {
		c.Remarks.(*remarks).keep()
		return nil
	}); gone != nil {
		return gone
	}
	if err == nil {
		s.restored = c.NewResources.All()
	}
	return err
}

func hooksOf(o *protection.Operation) []protection.Hook {
	return []protection.Hook{o.PrepareBegin, o.PrepareFinish, o.Main, o.Complete}
}

// undo lets a process take the operation back.
func (s *stage) undo(p *Process) error {
	defer p.cancel(nil)
	c, err := s.call(p)
	if err != nil {
		return err
	}
	plugin := s.world.Plugin(p)
	operation, err := plugin.Operation(s.kind, c.Resource)
	if err != nil {
		return err
	}
	hooks := []protection.Hook{operation.Undo}
	if operation.Undo == nil && s.kind != protection.Restore {
		if operation, err = plugin.Operation(protection.Delete, c.Resource); err != nil {
			return err
		}
		hooks = hooksOf(operation)
	}
	p.arm()
	for _, hook := range hooks {
		if hook == nil {
			continue
		}
		err := hook(p.ctx, c)
		if gone := p.alive(); gone != nil {
			return gone
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) inventory() ([]string, error) {
	there, err := s.world.Inventory(s.ctx)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	there = slices.Clone(there)
	slices.Sort(there)
	return there, nil
}

// patience is how long a world that lags may take, and pause what lies between
// two looks at it.
const (
	patience = time.Minute
	pause    = 200 * time.Millisecond
)

// settled runs a check, and in a world that lags again until it is content.
func (s *stage) settled(check func() error) error {
	began := time.Now()
	for {
		err := check()
		if err == nil || !s.world.Lags || time.Since(began) > patience {
			return err
		}
		time.Sleep(pause)
	}
}

// untouched compares the service with what it was at some time.
func (s *stage) untouched(since []string) error {
	return s.settled(func() error {
		now, err := s.inventory()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(since, now, cmpopts.EquateEmpty()); diff != "" {
			return fmt.Errorf("the service holds something else (-want +got):\n%s", diff)
		}
		return nil
	})
}

// gone checks that an operation was taken back, or a backup deleted.
func (s *stage) gone(since []string) error {
	if err := s.untouched(since); err != nil {
		return err
	}
	if s.kind == protection.Restore {
		return nil
	}
	return s.settled(func() error {
		objects, err := s.objects()
		if err != nil {
			return err
		}
		delete(objects, protection.StatusKey)
		if len(objects) > 0 {
			return errors.New("the bank still has" + list(objects))
		}
		return nil
	})
}

// takeBack runs Undo to its end, twice, as after a crash before the first end was
// on record.
func (s *stage) takeBack() error {
	for range 2 {
		if err := s.undo(newProcess(s.ctx, cut{})); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
		if err := s.gone(s.base); err != nil {
			return fmt.Errorf("after undo: %w", err)
		}
	}
	return nil
}
