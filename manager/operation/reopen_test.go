// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// unreadable is a bank that answers no question.
type unreadable struct {
	bank.Plugin
	away *atomic.Bool
}

func (u unreadable) Get(ctx context.Context, key string) (*bank.Object, error) {
	if u.away.Load() {
		return nil, errDown
	}
	return u.Plugin.Get(ctx, key)
}

// leftBehind is a protection whose process has died in a main hook.
func leftBehind(t *testing.T) (s *site, id string) {
	t.Helper()
	s = newSite(t)
	entered := make(chan struct{})
	first := s.process(t, onMain(protection.Protect, func(ctx context.Context, c *protection.Call) error {
		if err := c.SaveState(ctx, "halfway"); err != nil {
			return err
		}
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}), nil)
	id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	first.kill()
	first.engine.alive.Wait()
	return s, id
}

// What cannot be opened, whatever its services do, ends.
func TestResumeOfWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *site, key string)
		reason string
	}{
		"no JSON": {func(_ *testing.T, s *site, key string) {
			s.bank.Plugin.(*banktest.Memory).Set(key, banktest.Stored{Body: []byte(`{"status": `), Serialized: bank.JSON})
		}, "index.json"},
		"gone": {func(t *testing.T, s *site, key string) {
			if err := s.bank.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}, "could not be found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, id := leftBehind(t)
				c.damage(t, s, "/checkpoints/"+id+"/index.json")
				second := s.process(t, onMain(protection.Protect, func(context.Context, *protection.Call) error {
					t.Error("a hook runs")
					return nil
				}), nil)
				ended := time.AfterFunc(time.Hour, second.kill) // or it would never end
				second.adopt(t, s.journal)
				ended.Stop()
				entries, err := s.journal.List(t.Context(), journal.Filter{})
				if err != nil || len(entries) != 1 || entries[0].Outcome != journal.Failed || !strings.Contains(entries[0].Reason, c.reason) {
					t.Errorf("journal %+v, %v", entries, err)
				}
				row := s.records.log(t, protection.Protect)
				if row.Status != "error" || row.EndedAt.IsZero() || !strings.Contains(row.ErrorInfo, c.reason) {
					t.Errorf("operation log %+v", row)
				}
				if left := s.bank.Plugin.(*banktest.Memory).Below("/checkpoints/"); name == "gone" && len(left) > 0 {
					t.Errorf("a new checkpoint was made: %v", left)
				}
			})
		})
	}
}

// An operation that is cancelled while its bank is away ends when the bank says so
// too. If it comes back soon, what was made goes; else it stays, and is told of.
func TestCancelOfWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]bool{"the bank comes back soon": true, "the bank comes back late": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, id := leftBehind(t)
				var away, undone atomic.Bool
				away.Store(true)
				plugin := hookPlugin{func(k protection.Kind, _ resource.Resource) (*protection.Operation, error) {
					return &protection.Operation{Main: func(context.Context, *protection.Call) error {
						undone.Store(undone.Load() || k == protection.Delete)
						return nil
					}}, nil
				}}
				second := s.process(t, plugin, nil)
				provider, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{plugin},
					Bank: bank.New(unreadable{s.bank, &away}, nil)})
				if err != nil {
					t.Fatal(err)
				}
				second.engine.Providers = one{provider}
				entries, err := s.journal.List(t.Context(), journal.Filter{})
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Hour, func() {
					if err := second.engine.Cancel(t.Context(), entries[0].ID, "alice"); err != nil {
						t.Error(err)
					}
				})
				outage := 12 * time.Hour
				if back {
					outage = time.Hour + time.Minute
				}
				time.AfterFunc(outage, func() { away.Store(false) })
				late := time.AfterFunc(24*time.Hour, second.kill)
				second.adopt(t, s.journal)
				late.Stop()
				d, err := second.engine.Operation(t.Context(), entries[0].ID)
				if err != nil || d.Status != "cancelled" || !strings.HasPrefix(d.Reason, "cancelled by alice") ||
					back != (d.Reason == "cancelled by alice") || undone.Load() != back {
					t.Errorf("operation %+v, %v; undone %t", d, err, undone.Load())
				}
				if row := s.records.log(t, protection.Protect); row.Status != "error" || row.EndedAt.IsZero() {
					t.Errorf("operation log %+v", row)
				}
				if status := s.checkpoint(t, id).Status(); status != checkpoint.Error {
					t.Errorf("status %s", status)
				}
			})
		})
	}
}

// What was accepted can be seen from then on: a worker that has to leave a request as soon as
// it is on record has not made the checkpoint, and whoever asks any worker sees the one that
// the next owner makes. Nothing can be written to it meanwhile.
func TestCheckpointBeforeItIsMade(t *testing.T) {
	t.Parallel()
	ask := map[protection.Kind]func(p *process, source *checkpoint.Checkpoint) (string, error){
		protection.Protect: func(p *process, _ *checkpoint.Checkpoint) (string, error) {
			return p.engine.Protect(p.bench.ctx, Message{}, p.provider, planOf(volume), nil)
		},
		protection.Copy: func(p *process, source *checkpoint.Checkpoint) (string, error) {
			pairs, err := p.engine.Copy(p.bench.ctx, Message{}, p.provider, planOf(volume), []*checkpoint.Checkpoint{source})
			if err != nil {
				return "", err
			}
			return pairs[0].Copy, nil
		},
	}
	for kind, status := range map[protection.Kind]checkpoint.Status{
		protection.Protect: checkpoint.Protecting, protection.Copy: checkpoint.WaitCopying,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			plugin := onMain(kind, func(context.Context, *protection.Call) error { return nil })
			before := s.process(t, plugin, nil)
			source, err := before.engine.Protect(before.bench.ctx, Message{}, before.provider, planOf(volume), nil)
			if err != nil {
				t.Fatal(err)
			}
			before.engine.alive.Wait()

			tenure := &awake{}
			first := s.process(t, plugin, nil, func(c *Config) {
				tenure.process = c.Tenure.(*process)
				c.Tenure = tenure
			})
			tenure.over.Store(true)
			id, err := ask[kind](first, before.checkpoint(t, source))
			if err != nil {
				t.Fatal(err)
			}
			first.kill()
			first.engine.alive.Wait()
			if _, err := first.provider.Checkpoints.Get(t.Context(), id); !fault.Is(err, "CheckpointNotFound") {
				t.Fatalf("the bank has the checkpoint: %v", err)
			}

			second := s.process(t, plugin, nil)
			seen, err := second.engine.Opening(t.Context(), second.provider, id)
			if err != nil {
				t.Fatal(err)
			}
			if seen.Status() != status || seen.ID() != id || seen.ProjectID() != project {
				t.Errorf("%+v", seen.View())
			}
			if err := errors.Join(seen.SetStatus(checkpoint.Error), seen.Commit(t.Context())); !errors.Is(err, checkpoint.ErrConflict) {
				t.Errorf("it can be written to: %v", err)
			}
			if ownerless, err := second.engine.Ownerless(t.Context(), second.provider, seen); ownerless || err != nil {
				t.Errorf("it may be taken from its owner: %t, %v", ownerless, err)
			}
			other := *second.provider
			other.ID = "other"
			for _, c := range []struct {
				p  *providers.Provider
				id string
			}{{second.provider, newID()}, {second.provider, source}, {&other, id}} {
				if cp, err := second.engine.Opening(t.Context(), c.p, c.id); !fault.Is(err, "CheckpointNotFound") {
					t.Errorf("provider %s, checkpoint %s: %v, %v", c.p.ID, c.id, cp, err)
				}
			}

			second.adopt(t, s.journal)
			made := second.checkpoint(t, id)
			shown := map[string]any{}
			for name, cp := range map[string]*checkpoint.Checkpoint{"before": seen, "after": made} {
				v := cp.View()
				v.Status, v.ExtraInfo, v.CreatedAt = "", nil, "" // which change
				text, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				shown[name] = string(text)
			}
			if diff := cmp.Diff(shown["before"], shown["after"]); diff != "" || made.Status() != checkpoint.Available {
				t.Errorf("it became %s: %s", made.Status(), diff)
			}
			if _, err := second.engine.Opening(t.Context(), second.provider, id); !fault.Is(err, "CheckpointNotFound") {
				t.Errorf("it is still about to be made: %v", err)
			}
		})
	}
}
