// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

func crashLimit(n int) func(*Config) { return func(c *Config) { c.CrashLimit = n } }

// protect begins to protect a resource and returns the checkpoint's id.
func (p *process) protect(t *testing.T, r resource.Resource) string {
	t.Helper()
	id, err := p.engine.Protect(p.bench.ctx, Message{}, p.provider, planOf(r), nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// entryOf is the entry of the operation on a checkpoint.
func (s *site) entryOf(t *testing.T, checkpointID string) journal.Entry {
	t.Helper()
	entries, err := s.journal.List(t.Context(), journal.Filter{CheckpointID: checkpointID})
	if err != nil || len(entries) != 1 {
		t.Fatalf("operations on checkpoint %s: %v, %v", checkpointID, entries, err)
	}
	return entries[0]
}

// dies is a hook in which the process dies.
func (p *process) dies(ctx context.Context, _ *protection.Call) error {
	p.kill()
	<-ctx.Done()
	return context.Cause(ctx)
}

// An operation of which its workers die fails with that reason, wherever in it that
// is, and the worker that says so lives.
func TestOperationThatEndsItsWorkers(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string]int{
		"in a hook":         3,
		"while it is built": 4, // the first time for its caller, before it runs
	} {
		inHook := tries == 3
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				tried := 0
				worker := func() (p *process) {
					p = s.process(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
						if inHook {
							return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
								tried++
								return p.dies(ctx, c)
							}}, nil
						}
						tried++
						p.kill()
						return nil, errors.Join(protection.ErrHandover, errKilled)
					}}, nil, crashLimit(3))
					return p
				}
				first := worker()
				id := first.protect(t, volume)
				first.engine.alive.Wait()
				for range tries - 1 {
					p := worker()
					p.adopt(t, s.journal)
					if p.ctx.Err() == nil {
						t.Fatal("it was not tried")
					}
				}
				last := worker()
				last.adopt(t, s.journal)
				entry := s.entryOf(t, id)
				const reason = "has ended 3 workers in a row"
				if last.ctx.Err() != nil || tried != tries || entry.Outcome != journal.Failed || !strings.Contains(entry.Reason, reason) {
					t.Errorf("tried %d times, the last worker: %v, the operation: %s %q, want %q", tried, last.ctx.Err(), entry.Outcome, entry.Reason, reason)
				}
				if status := last.checkpoint(t, id).Status(); status != checkpoint.Error {
					t.Errorf("the checkpoint is %s", status)
				}
			})
		})
	}
}

// What ends workers, and not because of the operation, never makes it fail.
func TestCrashesThatDoNotCount(t *testing.T) {
	t.Parallel()
	const times = 12
	for name, end := range map[string]func(p *process, ctx context.Context) error{
		"long after it was taken over": func(p *process, ctx context.Context) error {
			time.Sleep(probationTime + time.Second)
			return p.dies(ctx, nil)
		},
		"a stop in good order": func(p *process, ctx context.Context) error {
			go p.engine.Stop(context.Background())
			<-protection.Draining(ctx)
			return protection.ErrHandover
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				ends := 0
				worker := func() (p *process) {
					p = s.process(t, onMain(protection.Protect, func(ctx context.Context, _ *protection.Call) error {
						if ends++; ends > times {
							return nil
						}
						return end(p, ctx)
					}), nil, crashLimit(2))
					return p
				}
				p := worker()
				id := p.protect(t, volume)
				p.engine.alive.Wait()
				for range times {
					worker().adopt(t, s.journal)
				}
				if entry := s.entryOf(t, id); entry.Outcome != journal.Succeeded {
					t.Errorf("%s %q", entry.Outcome, entry.Reason)
				}
			})
		})
	}
}

// A worker that takes its own operation up again after it was out of touch has not
// died of it.
func TestTakenUpAgainByItsOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const times = 12
		s := newSite(t)
		tries := 0
		worker := func(id string) (p *process) {
			p = s.process(t, onMain(protection.Protect, func(ctx context.Context, c *protection.Call) error {
				if tries++; tries > times {
					return nil
				}
				return p.dies(ctx, c)
			}), nil, crashLimit(3))
			p.id = id
			return p
		}
		first := worker(newID())
		id := first.protect(t, volume)
		first.engine.alive.Wait()
		for range times {
			worker(first.id).adopt(t, s.journal)
		}
		if entry := s.entryOf(t, id); entry.Outcome != journal.Succeeded {
			t.Errorf("%s %q", entry.Outcome, entry.Reason)
		}
	})
}

// An operation of which a hook finishes with each worker comes to its end, however
// many of them die.
func TestCrashesWithProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const steps = 12
		s := newSite(t)
		ended := map[string]bool{}
		worker := func() (p *process) {
			fresh := true
			p = s.process(t, onMain(protection.Protect, func(ctx context.Context, c *protection.Call) error {
				if !fresh {
					synctest.Wait() // what has finished is on record
					return p.dies(ctx, c)
				}
				fresh, ended[c.Resource.ID] = false, true
				return nil
			}), nil, crashLimit(2), func(c *Config) { c.MaxTasks = 1 })
			return p
		}
		first := worker()
		id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volumes(steps)...), nil)
		if err != nil {
			t.Fatal(err)
		}
		first.engine.alive.Wait()
		for range steps {
			worker().adopt(t, s.journal)
		}
		if entry := s.entryOf(t, id); entry.Outcome != journal.Succeeded || len(ended) != steps {
			t.Errorf("%s %q, %d hooks have finished", entry.Outcome, entry.Reason, len(ended))
		}
	})
}

// Operations that were at work beside one that ends its workers do not fail with it:
// what is suspected is tried alone.
func TestInnocentOperationsOutliveTheGuilty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var deadly atomic.Bool
		worker := func() (p *process) {
			p = s.process(t, onMain(protection.Protect, func(ctx context.Context, c *protection.Call) error {
				if c.Resource.ID == "guilty" && deadly.Load() {
					return p.dies(ctx, c)
				}
				select {
				case <-time.After(time.Hour):
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}), nil, crashLimit(3))
			return p
		}
		first := worker()
		guilty, ids := first.protect(t, resource.Resource{Type: resource.Volume, ID: "guilty"}), []string{}
		for _, r := range volumes(5) {
			ids = append(ids, first.protect(t, r))
		}
		synctest.Wait()
		first.kill()
		first.engine.alive.Wait()
		deadly.Store(true)
		workers := 0
		for ; workers < 20; workers++ {
			p := worker()
			p.adopt(t, s.journal)
			if p.ctx.Err() == nil {
				break
			}
		}
		if entry := s.entryOf(t, guilty); entry.Outcome != journal.Failed || !strings.Contains(entry.Reason, "workers in a row") {
			t.Errorf("the guilty one: %s %q after %d workers", entry.Outcome, entry.Reason, workers)
		}
		for _, id := range ids {
			if entry := s.entryOf(t, id); entry.Outcome != journal.Succeeded {
				t.Errorf("an innocent one: %s %q", entry.Outcome, entry.Reason)
			}
		}
	})
}

// What is cancelled before a hook was reached ends without being built, which may be
// what it cannot stand; so does what has ended too many workers.
func TestCancelledWithoutBuilding(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Delete} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				built := 0
				worker := func() (p *process) {
					p = s.process(t, hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
						if k == kind {
							built++
							p.kill()
							return nil, errors.Join(protection.ErrHandover, errKilled)
						}
						return nil, nil
					}}, nil, crashLimit(10))
					return p
				}
				first := worker()
				var id string
				if kind == protection.Protect {
					id = first.protect(t, volume)
				} else {
					cp := protected(t, first.bench, volume)
					id = cp.ID()
					s.records.restores["r"] = database.Record{ID: "r"}
					var err error
					if kind == protection.Restore {
						err = first.engine.Restore(first.bench.ctx, Message{}, first.provider, cp, Record{ID: "r", ProjectID: project})
					} else {
						err = first.engine.Delete(first.bench.ctx, Message{}, first.provider, cp)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				first.engine.alive.Wait()
				second := worker()
				second.adopt(t, s.journal) // knows that no hook has run, and dies all the same
				left, err := s.journal.List(t.Context(), journal.Filter{Unfinished: true})
				if err != nil || len(left) != 1 {
					t.Fatalf("%v, %v", left, err)
				}
				if err := s.journal.Cancel(t.Context(), left[0].ID, "alice"); err != nil {
					t.Fatal(err)
				}
				before := built
				third := worker()
				third.adopt(t, s.journal)
				entry, err := s.journal.Get(t.Context(), left[0].ID)
				if err != nil || entry.Outcome != journal.Cancelled || built != before || third.ctx.Err() != nil {
					t.Errorf("%+v, %v: built %d times more, the worker: %v", entry, err, built-before, third.ctx.Err())
				}
				if status := third.checkpoint(t, id).Status(); status.Unfinished() {
					t.Errorf("the checkpoint is %s", status)
				}
			})
		})
	}
}
