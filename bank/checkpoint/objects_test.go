// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

// kept is what a journal keeps of recorded objects.
type kept map[string]string

func (k kept) keep(_ context.Context, name, digest string) error {
	k[name] = digest
	return nil
}

// sealedWorld is a checkpoint with the objects of one resource, which is complete.
func sealedWorld(t *testing.T) (*world, *checkpoint.Checkpoint) {
	t.Helper()
	w, cp := signedWorld(t)
	cp.RecordObjects(nil, kept{}.keep)
	write(t, cp, map[string]string{"status": "available", "metadata": `{"backup_id": "1"}`, "manifest": `{"objects": []}`, "data_1": "bytes"})
	cp.Seal()
	set(t, cp, checkpoint.Error)
	set(t, cp, checkpoint.Available)
	return w, w.get(t, cp.ID())
}

func write(t *testing.T, cp *checkpoint.Checkpoint, objects map[string]string) {
	t.Helper()
	for key, text := range objects {
		if err := section(t, cp).PutText(t.Context(), key, text); err != nil {
			t.Fatal(err)
		}
	}
}

func section(t *testing.T, cp *checkpoint.Checkpoint) *bank.Section {
	t.Helper()
	s, err := cp.Section("v1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An object of a complete checkpoint that was altered, removed or added is refused by every
// way to read it, with its key and the reason.
func TestAlteredObjectIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key, text string // "" removes it
		reason    string
	}{
		"altered":            {"metadata", `{"backup_id": "2"}`, "it was altered"},
		"a byte more":        {"metadata", `{"backup_id": "1"} `, "it was altered"},
		"a manifest altered": {"manifest", `{}`, "it was altered"},
		"removed":            {"metadata", "", "it was removed"},
		"a manifest removed": {"manifest", "", "it was removed"},
		"added":              {"pod", `{}`, "it was added"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, cp := sealedWorld(t)
			s := section(t, cp)
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			full := "/checkpoints/" + cp.ID() + "/resource-data/v1/" + c.key
			if c.text == "" {
				if err := w.memory.Delete(t.Context(), full); err != nil {
					t.Fatal(err)
				}
			} else {
				w.memory.Set(full, banktest.Stored{Body: []byte(c.text)})
			}
			target, err := bank.New(banktest.NewMemory(), nil).Section("/copy")
			if err != nil {
				t.Fatal(err)
			}
			for way, read := range map[string]func() error{
				"Check":    func() error { return s.ReadOnly().Check(t.Context()) },
				"GetJSON":  func() error { var v any; return s.GetJSON(t.Context(), c.key, &v) },
				"GetText":  func() error { _, err := s.GetText(t.Context(), c.key); return err },
				"CopyFrom": func() error { _, err := target.CopyFrom(t.Context(), s, c.key); return err },
				"Open": func() error {
					body, err := s.Open(t.Context(), c.key)
					if err == nil {
						defer body.Close()
						_, err = io.Copy(io.Discard, body)
					}
					return err
				},
			} {
				if err := read(); !errors.Is(err, bank.ErrAltered) || errors.Is(err, bank.ErrNotFound) ||
					!strings.Contains(err.Error(), full) || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("%s gives %v", way, err)
				}
			}
			if keys, err := target.List(t.Context(), bank.ListOptions{}); err != nil || len(keys) > 0 {
				t.Errorf("copied: %v, %v", keys, err)
			}
		})
	}
}

// The digests are signed with the rest: who alters them, or takes them away, alters the
// signature.
func TestDigestsAreSigned(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(objects map[string]any) any{
		"altered": func(o map[string]any) any { o["v1/metadata"] = strings.Repeat("0", 64); return o },
		"added":   func(o map[string]any) any { o["v1/pod"] = strings.Repeat("0", 64); return o },
		"removed": func(o map[string]any) any { delete(o, "v1/manifest"); return o },
		"empty":   func(map[string]any) any { return map[string]any{} },
		"none":    func(map[string]any) any { return nil },
	} {
		w, cp := sealedWorld(t)
		var index map[string]any
		if err := json.Unmarshal([]byte(w.index(cp.ID())), &index); err != nil {
			t.Fatal(err)
		}
		signature := index["karbor_signature"].(map[string]any)
		signature["objects"] = alter(signature["objects"].(map[string]any))
		text, err := json.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		w.setIndex(cp.ID(), string(text))
		if _, err := w.Get(t.Context(), cp.ID()); !errors.Is(err, checkpoint.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one process has recorded is there for the next, and nothing is sealed that was
// deleted again. Status and data are not recorded.
func TestObjectsOfEarlierRuns(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	journal := kept{}
	cp.RecordObjects(nil, journal.keep)
	write(t, cp, map[string]string{"status": "protecting", "metadata": "old", "manifest": "gone", "data_1": "x"})
	cp = w.get(t, cp.ID())
	cp.RecordObjects(maps.Clone(journal), journal.keep)
	write(t, cp, map[string]string{"metadata": "new", "pod": "there"})
	if err := section(t, cp).Delete(t.Context(), "manifest"); err != nil {
		t.Fatal(err)
	}
	cp = w.get(t, cp.ID())
	cp.RecordObjects(journal, journal.keep)
	cp.Seal()
	set(t, cp, checkpoint.Error)
	if diff := cmp.Diff([]string{"v1/metadata", "v1/pod"}, sealedNames(t, w, cp.ID())); diff != "" {
		t.Error(diff)
	}
	if err := section(t, w.get(t, cp.ID())).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func sealedNames(t *testing.T, w *world, id string) []string {
	t.Helper()
	var index struct {
		Signature struct {
			Objects map[string]string `json:"objects"`
		} `json:"karbor_signature"`
	}
	if err := json.Unmarshal([]byte(w.index(id)), &index); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(index.Signature.Objects))
}

// A write that could not be recorded is recorded when it is repeated.
func TestRecordingFails(t *testing.T) {
	t.Parallel()
	_, cp := signedWorld(t)
	away, journal := errors.New("the journal is away"), kept{}
	cp.RecordObjects(nil, func(ctx context.Context, name, digest string) error {
		err := away
		away = nil
		return errors.Join(err, journal.keep(ctx, name, digest))
	})
	if err := section(t, cp).PutText(t.Context(), "metadata", "x"); err == nil {
		t.Fatal("a write that is not on record has succeeded")
	}
	clear(journal)
	write(t, cp, map[string]string{"metadata": "x"})
	if len(journal) != 1 {
		t.Error("it was not recorded again")
	}
}

// A signed checkpoint without digests, of an earlier version or not complete, is used unless
// signatures are required, and can be deleted.
func TestSignatureWithoutObjects(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	write(t, cp, map[string]string{"metadata": "x"})
	for require, want := range map[bool]error{false: nil, true: checkpoint.ErrSignature} {
		got, err := w.over(signing(t, firstKey, require)).Get(t.Context(), cp.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := got.CheckSeal(); !errors.Is(err, want) {
			t.Errorf("require %t: %v", require, err)
		}
		if text, err := section(t, got).GetText(t.Context(), "metadata"); text != "x" || err != nil {
			t.Errorf("require %t: a deletion reads %q, %v", require, text, err)
		}
	}
	if _, sealed := sealedWorld(t); sealed.CheckSeal() != nil {
		t.Error("a complete one is refused")
	}
}
