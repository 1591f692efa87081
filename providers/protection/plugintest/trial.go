// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/providers/protection"
)

// reference is an undisturbed run of an operation.
type reference struct {
	kind    protection.Kind
	calls   []string
	uploads []int
	outcome outcome
}

// trial is a run that is disturbed.
type trial struct {
	name string
	run  func(t testing.TB, build func(t testing.TB) *World) error
}

func observe(t testing.TB, kind protection.Kind, build func(t testing.TB) *World) (*reference, error) {
	t.Helper()
	s, err := newStage(t, kind, build)
	if err != nil {
		return nil, err
	}
	p := newProcess(s.ctx, cut{})
	if err := s.run(p); err != nil {
		return nil, err
	}
	r := &reference{kind: kind, calls: p.calls}
	for n := range p.stream {
		r.uploads = append(r.uploads, n)
	}
	slices.Sort(r.uploads)
	if r.outcome, err = s.outcome(); err != nil {
		return nil, err
	}
	for _, status := range r.outcome.Statuses {
		if strings.Contains(status, " "+protection.StatusRestoring+" ") {
			return nil, fmt.Errorf("a status is not final: %s", status)
		}
	}
	return r, nil
}

func (r *reference) listing() string {
	var text strings.Builder
	for i, name := range r.calls {
		fmt.Fprintf(&text, "%4d %s\n", i+1, name)
	}
	return text.String()
}

// trials are the ways to disturb the operation.
func (r *reference) trials(o Options) []trial {
	all := spread(len(r.calls), o.Cuts)
	var trials []trial
	add := func(c cut, what string, run func(s *stage, c cut) error) {
		trials = append(trials, trial{strings.TrimSpace(c.String() + " " + what), func(t testing.TB, build func(t testing.TB) *World) error {
			t.Helper()
			s, err := newStage(t, r.kind, build)
			if err != nil {
				return err
			}
			return run(s, c)
		}})
	}
	resume := func(s *stage, c cut) error { return r.resumed(s, c) }
	takenBack := func(s *stage, c cut) error { return undone(s, c) }
	undoable := slices.Contains([]protection.Kind{protection.Protect, protection.Restore, protection.Copy}, r.kind)
	// All that a process does outside of itself are calls: to die before one is to
	// die after the call before it, with the answer to that lost. Only the first
	// has none before it.
	if len(all) > 0 {
		add(cut{killed, before, 1}, "", resume)
	}
	for _, n := range all {
		add(cut{killed, after, n}, "", resume)
		add(cut{handed, before, n}, "", r.handedOver)
		add(cut{drained, before, n}, "", r.drained)
		if undoable {
			add(cut{killed, after, n}, "then undone", takenBack)
			add(cut{cancelled, before, n}, "", cancelledThenUndone)
		}
	}
	for _, n := range r.uploads {
		add(cut{killed, during, n}, "", resume)
		if undoable {
			add(cut{killed, during, n}, "then undone", takenBack)
		}
	}
	random := rand.New(rand.NewPCG(1, uint64(len(r.calls)))) //nolint:gosec // the same in every run
	for range min(o.Twice, len(r.calls)) {
		first, second := 1+random.IntN(len(r.calls)), 1+random.IntN(len(r.calls))
		again := cut{killed, after, second}
		add(cut{killed, after, first}, "and "+again.String()+" of the next process", func(s *stage, c cut) error {
			return r.resumed(s, c, again)
		})
		if undoable {
			add(cut{killed, after, first}, fmt.Sprintf("then undone twice, %d", second), func(s *stage, c cut) error {
				return undone(s, c, cut{killed, after, 1 + second%max(len(r.calls)/2, 1)})
			})
		}
	}
	if undoable {
		add(cut{}, "then undone", takenBack)
		add(cut{}, "undone before it was run", func(s *stage, _ cut) error { return s.takeBack() })
	}
	return trials
}

// spread picks at most limit of 1 to n, the first and the last among them.
func spread(n, limit int) []int {
	if limit <= 0 || limit >= n {
		limit = n
	}
	var picked []int
	for i := range limit {
		picked = append(picked, 1+i*(n-1)/max(limit-1, 1))
	}
	return picked
}

// resumed kills one process after the other, and lets one go on that lives.
func (r *reference) resumed(s *stage, c cut, more ...cut) error {
	for _, c := range append([]cut{c}, more...) {
		if err := s.run(newProcess(s.ctx, c)); err != nil && !errors.Is(err, errKilled) {
			return fmt.Errorf("it failed, though only its process was %s: %w", c, err)
		}
	}
	return r.finished(s)
}

// finished lets a last process go on, and compares.
func (r *reference) finished(s *stage) error {
	if err := s.run(newProcess(s.ctx, cut{})); err != nil {
		return fmt.Errorf("the next process fails: %w", err)
	}
	err := s.settled(func() error {
		got, err := s.outcome()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(r.outcome, got); diff != "" {
			return fmt.Errorf("other than undisturbed (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.kind != protection.Protect {
		return nil
	}
	// Nothing that an earlier process made may be left once the backup is gone.
	s.begin(protection.Delete)
	if err := s.run(newProcess(s.ctx, cut{})); err != nil {
		return fmt.Errorf("the backup cannot be deleted: %w", err)
	}
	if err := s.gone(s.base); err != nil {
		return fmt.Errorf("after the backup was deleted: %w", err)
	}
	return nil
}

func (r *reference) handedOver(s *stage, c cut) error {
	p := newProcess(s.ctx, c)
	if err := s.run(p); err != nil && !errors.Is(err, protection.ErrHandover) {
		return fmt.Errorf("the error does not wrap ErrHandover: %w", err)
	}
	if len(p.late) > 0 {
		return fmt.Errorf("after it was handed over it still did: %s", strings.Join(p.late, ", "))
	}
	return r.finished(s)
}

func (r *reference) drained(s *stage, c cut) error {
	if err := s.run(newProcess(s.ctx, c)); err != nil && !errors.Is(err, protection.ErrHandover) {
		return fmt.Errorf("the error does not wrap ErrHandover: %w", err)
	}
	return r.finished(s)
}

func cancelledThenUndone(s *stage, c cut) error {
	err := s.run(newProcess(s.ctx, c))
	if err != nil {
		if !errors.Is(err, protection.ErrCancelled) {
			return fmt.Errorf("the error does not wrap ErrCancelled: %w", err)
		}
		if err := s.untouched(s.entered); err != nil {
			return fmt.Errorf("the hook was cancelled: %w", err)
		}
	}
	return s.takeBack()
}

// undone takes a run back that was killed, killing the undo first where asked to.
func undone(s *stage, c cut, undo ...cut) error {
	if err := s.run(newProcess(s.ctx, c)); err != nil && !errors.Is(err, errKilled) {
		return fmt.Errorf("it failed, though only its process was %s: %w", c, err)
	}
	for _, c := range undo {
		if err := s.undo(newProcess(s.ctx, c)); err != nil && !errors.Is(err, errKilled) {
			return fmt.Errorf("undo failed, though only its process was %s: %w", c, err)
		}
	}
	return s.takeBack()
}
