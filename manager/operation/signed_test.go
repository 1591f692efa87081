// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// inBank is a plugin whose backups are an object each. The protection of a resource may
// have a hook of its own.
func inBank(protect protection.Hook) hookPlugin {
	frame := hook.Frame{Title: "Test Backup", Verified: "Test backup"}
	return hookPlugin{func(kind protection.Kind, _ resource.Resource) (*protection.Operation, error) {
		switch kind {
		case protection.Protect:
			return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
				if err := c.Section.PutJSON(ctx, protection.MetadataKey, c.Resource.ID); err != nil {
					return err
				}
				if err := c.PutStatus(ctx, protection.StatusAvailable); err != nil {
					return err
				}
				return protect(ctx, c)
			}}, nil
		case protection.Restore:
			return &protection.Operation{Main: frame.Restore(
				func(context.Context, *protection.Call) (string, error) { return "new", nil },
				done)}, nil
		case protection.Verify:
			return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("test", nil))}, nil
		case protection.Copy:
			return frame.Copy(), nil
		}
		return &protection.Operation{Main: frame.Delete(hook.Purge())}, nil
	}}
}

func done(context.Context, *protection.Call) error { return nil }

// signs makes a process sign checkpoints, and require that.
func signs(t *testing.T, p *process, plugin hookPlugin, s *site) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("key "+strings.Repeat("1a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	signing, err := checkpoint.LoadSigning(path, true)
	if err != nil {
		t.Fatal(err)
	}
	provider, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{plugin},
		Bank: bank.New(s.bank, nil), Checkpoints: checkpoint.Options{Signing: signing}})
	if err != nil {
		t.Fatal(err)
	}
	p.provider, p.engine.Providers = provider, one{provider}
	return p
}

// What a worker wrote before it died is signed by the one that completes the checkpoint,
// and nothing of the checkpoint can be altered, removed or added from then on: restores,
// verifications and copies fail with the key and the reason, and it can be deleted.
func TestHostileObjectsOfASignedCheckpoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, text, reason string }{
		"altered": {protection.MetadataKey, `"x"`, "it was altered"},
		"removed": {protection.MetadataKey, "", "it was removed"},
		"added":   {"manifest", "{}", "it was added"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				var first *process
				written := make(chan struct{})
				dying := inBank(func(ctx context.Context, c *protection.Call) error {
					if c.Resource.ID == volume.ID {
						close(written)
						return nil
					}
					<-written
					synctest.Wait() // until the end of the other hook is on record
					return first.dies(ctx, c)
				})
				first = signs(t, s.process(t, dying, nil), dying, s)
				id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume, server), nil)
				if err != nil {
					t.Fatal(err)
				}
				first.engine.alive.Wait()
				writes := 0
				plugin := inBank(func(context.Context, *protection.Call) error { writes++; return nil })
				p := signs(t, s.process(t, plugin, nil), plugin, s)
				p.adopt(t, s.journal)
				cp := p.checkpoint(t, id)
				if cp.Status() != checkpoint.Available || writes != 1 {
					t.Fatalf("the checkpoint is %s after %d writes", cp.Status(), writes)
				}
				if text := verified(t, p, cp); text != "" {
					t.Fatalf("as it was written: %s", text)
				}

				full := "/checkpoints/" + id + "/resource-data/" + volume.ID + "/" + c.key
				stored := s.bank.Plugin.(*banktest.Memory)
				if c.text == "" {
					if err := stored.Delete(t.Context(), full); err != nil {
						t.Fatal(err)
					}
				} else {
					stored.Set(full, banktest.Stored{Body: []byte(c.text)})
				}
				refused := func(what, text string) {
					t.Helper()
					if !strings.Contains(text, full) || !strings.Contains(text, c.reason) {
						t.Errorf("%s: %q", what, text)
					}
				}
				refused("verify", verified(t, p, cp))
				s.records.restores["r"] = database.Record{ID: "r"}
				if err := p.engine.Restore(p.bench.ctx, Message{}, p.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
					t.Fatal(err)
				}
				p.finish()
				refused("restore", reasons(s.records.restores["r"]))
				pairs, err := p.engine.Copy(p.bench.ctx, Message{}, p.provider, planOf(volume, server), []*checkpoint.Checkpoint{cp})
				if err != nil {
					t.Fatal(err)
				}
				p.finish()
				if status := p.checkpoint(t, pairs[0].Copy).Status(); status != checkpoint.Error {
					t.Errorf("the copy is %s", status)
				}
				if err := p.engine.Delete(p.bench.ctx, Message{}, p.provider, cp); err != nil {
					t.Fatal(err)
				}
				p.finish()
				if status := p.checkpoint(t, id).Status(); status != checkpoint.Deleted {
					t.Errorf("deleted, it is %s", status)
				}
			})
		})
	}
}

// verified returns the reasons of a verification that failed, "" if it did not.
func verified(t *testing.T, p *process, cp *checkpoint.Checkpoint) string {
	t.Helper()
	p.records.restores["v"] = database.Record{ID: "v"}
	refusal := p.engine.Verify(p.bench.ctx, Message{}, p.provider, cp, Record{ID: "v", ProjectID: project})
	p.finish()
	row := p.records.restores["v"]
	if row.Status == progress.RecordSuccess {
		return ""
	}
	return fmt.Sprint(refusal, row.Status, reasons(row))
}

func reasons(row database.Record) string {
	text, _ := json.Marshal(row.ResourcesReason)
	return string(text)
}

// A copy is signed like what it is a copy of. One that was not completed is not used.
func TestHostileUseOfWhatWasNotCompleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		plugin := inBank(done)
		p := signs(t, s.process(t, plugin, nil), plugin, s)
		pairs, err := p.engine.Copy(p.bench.ctx, Message{}, p.provider, planOf(volume), []*checkpoint.Checkpoint{protected(t, p.bench, volume)})
		if err != nil {
			t.Fatal(err)
		}
		p.finish()
		if text := verified(t, p, p.checkpoint(t, pairs[0].Copy)); text != "" {
			t.Errorf("the copy: %s", text)
		}
		failing := inBank(func(context.Context, *protection.Call) error { return errors.New("no") })
		f := signs(t, s.process(t, failing, nil), failing, s)
		cp := protected(t, f.bench, volume)
		if err := setStatus(t.Context(), cp, checkpoint.Available); err != nil { // as a reset does
			t.Fatal(err)
		}
		if verified(t, p, cp) == "" {
			t.Error("a checkpoint without signed objects was verified")
		}
		if err := p.engine.Delete(p.bench.ctx, Message{}, p.provider, cp); err != nil {
			t.Fatal(err)
		}
		p.finish()
		if status := p.checkpoint(t, cp.ID()).Status(); status != checkpoint.Deleted {
			t.Errorf("deleted, it is %s", status)
		}
	})
}
