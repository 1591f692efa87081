// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
)

var (
	firstKey  = "first " + strings.Repeat("1a", 32) + "\n"
	secondKey = "second " + strings.Repeat("2b", 32) + "\n"
	otherKey  = "first " + strings.Repeat("3c", 32) + "\n" // of somebody who knows the id alone
)

func keyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func signing(t *testing.T, keys string, require bool) *checkpoint.Signing {
	t.Helper()
	s, err := checkpoint.LoadSigning(keyFile(t, keys), require)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// over is the same bank with another signing.
func (w *world) over(s *checkpoint.Signing) *checkpoint.Collection {
	return checkpoint.NewCollection(bank.New(w.memory, nil), provider, checkpoint.Options{Signing: s})
}

// signedView is what a signature promises.
func signedView(cp *checkpoint.Checkpoint) string {
	v := cp.View()
	v.Status, v.ExtraInfo = "", nil
	text, _ := json.Marshal([]any{v, cp.OwnerID(), cp.ProviderID(), cp.Timestamp()})
	var plain any
	_ = json.Unmarshal(text, &plain)
	text, _ = json.Marshal(plain)
	return string(text)
}

func signedWorld(t *testing.T) (*world, *checkpoint.Checkpoint) {
	t.Helper()
	w := newWorld(checkpoint.Options{Signing: signing(t, firstKey, true)})
	cp, err := w.Create(t.Context(), checkpoint.CreateOptions{Plan: plan, ResourceGraph: `[{"0": "x"}, []]`})
	if err != nil {
		t.Fatal(err)
	}
	set(t, cp, checkpoint.Available)
	return w, cp
}

// Any change of any bytes of a signed index.json is refused, or changes nothing that the
// signature promises.
func TestAlteredIndexIsRefused(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	text, want := w.index(cp.ID()), signedView(w.get(t, cp.ID()))
	pieces := []string{"", `"`, "{", "}", ",", "0", "a", `\u0061`, " ", "\x00", `"project_id": "evil", `, `"ID": "x", `, `"resource_graph": null, `, "é"}
	rapid.Check(t, func(r *rapid.T) {
		from := rapid.IntRange(0, len(text)).Draw(r, "from")
		to := min(len(text), from+rapid.SampledFrom([]int{0, 1, 1, 2, 20}).Draw(r, "bytes"))
		piece := rapid.OneOf(rapid.SampledFrom(pieces), rapid.StringN(0, 3, -1)).Draw(r, "piece")
		w.setIndex(cp.ID(), text[:from]+piece+text[to:])
		defer w.setIndex(cp.ID(), text)
		altered, err := w.Get(r.Context(), cp.ID())
		if err == nil && signedView(altered) != want {
			r.Fatalf("%q was taken for\n%s", w.index(cp.ID()), want)
		}
		if err != nil && !strings.Contains(err.Error(), cp.ID()) && !strings.Contains(err.Error(), "unsupported version") { // the original's text
			r.Fatalf("%v does not name the checkpoint", err)
		}
	})
}

// What was planted or altered by one without the key is in no listing, is not shown, not
// changed, and no repair touches it; the log names it.
func TestPlantedCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	evil := strings.NewReplacer(`"project-1"`, `"project-9"`)
	for name, alter := range map[string]func(*testing.T, *world, string) string{
		"another project": func(_ *testing.T, _ *world, text string) string { return evil.Replace(text) },
		"another plan":    func(_ *testing.T, _ *world, text string) string { return strings.ReplaceAll(text, "plan-1", "plan-2") },
		"another graph":   func(_ *testing.T, _ *world, text string) string { return strings.Replace(text, `\"x\"`, `\"y\"`, 1) },
		"another owner": func(_ *testing.T, _ *world, text string) string {
			return strings.Replace(text, `"owner_id": "`, `"owner_id": "x`, 1)
		},
		"another time": func(_ *testing.T, _ *world, text string) string {
			return strings.Replace(text, `"timestamp": 1`, `"timestamp": 2`, 1)
		},
		"no signature": func(_ *testing.T, _ *world, text string) string {
			return strings.Replace(text, "karbor_signature", "x", 1)
		},
		"a null": func(_ *testing.T, _ *world, text string) string {
			return text[:strings.Index(text, `{"key"`)] + "null}"
		},
		"an unknown key": func(_ *testing.T, _ *world, text string) string {
			return strings.Replace(text, `"first"`, `"third"`, 1)
		},
		"an empty key id":  func(_ *testing.T, _ *world, text string) string { return strings.Replace(text, `"first"`, `""`, 1) },
		"another's, moved": func(_ *testing.T, w *world, text string) string { return strings.ReplaceAll(text, "cp-1", "cp-7") },
		"signed by another": func(t *testing.T, _ *world, _ string) string {
			w := newWorld(checkpoint.Options{Signing: signing(t, otherKey, true)})
			w.create(t)
			return w.index("cp-1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, cp := signedWorld(t)
			log, hook := logtest.NewNullLogger()
			id, text := cp.ID(), alter(t, w, w.index(cp.ID()))
			if text == w.index(id) {
				t.Fatal("nothing was altered")
			}
			if name == "another's, moved" {
				id = "cp-7"
			}
			w.setIndex(id, text)
			for _, key := range []string{"by-provider/provider-1/project-1/2@", "by-provider/provider-1/project-9/2@", "by-plan/plan-1/project-1/2026-11-22/2@"} {
				w.memory.Set("/indices/"+key+id, banktest.Stored{Body: []byte(id), Serialized: bank.JSON})
			}
			before := maps.Clone(w.memory.Objects())
			c := checkpoint.NewCollection(bank.New(w.memory, nil), provider, checkpoint.Options{Signing: signing(t, firstKey, true), Log: log})
			for _, o := range []checkpoint.ListOptions{{AllTenants: true}, {ProjectID: project}, {ProjectID: "project-9"}, {ProjectID: project, PlanID: plan.ID}} {
				found, err := c.List(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				for _, listed := range found {
					if listed.ID() == id {
						t.Errorf("%+v lists it", o)
					}
				}
			}
			if len(hook.AllEntries()) == 0 {
				t.Error("the log says nothing")
			}
			if _, err := c.Get(t.Context(), id); !errors.Is(err, checkpoint.ErrSignature) || !strings.Contains(err.Error(), id) {
				t.Errorf("get gives %v", err)
			}
			if c.Refused() == 0 {
				t.Error("it is not counted")
			}
			if id == cp.ID() {
				if err := cp.SetStatus(checkpoint.Deleting); err != nil {
					t.Fatal(err)
				}
				if err := cp.Commit(t.Context()); !errors.Is(err, checkpoint.ErrSignature) {
					t.Errorf("a commit on top of it gives %v", err)
				}
			}
			var all []checkpoint.Issue
			if err := c.Check(t.Context(), func(f checkpoint.Issue) error { all = append(all, f); return nil }); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []checkpoint.Kind{checkpoint.Unfinished, checkpoint.StrayEntry, checkpoint.OrphanedEntry, checkpoint.MissingEntry, checkpoint.OrphanedData, checkpoint.StrayData, checkpoint.Tombstone} {
				all = append(all, checkpoint.Issue{Kind: kind, ID: id, Key: "/indices/by-provider/provider-1/project-1/2@" + id, Status: checkpoint.Available})
			}
			for _, f := range all {
				if done, err := c.Repair(t.Context(), f); f.ID == id && (done || err != nil) {
					t.Errorf("repairing %+v: %v, %v", f, done, err)
				}
			}
			if diff := cmp.Diff(before, w.memory.Objects()); diff != "" {
				t.Errorf("the bank was changed: %s", diff)
			}
		})
	}
}

// The original keeps the signature, and changes the status and extra_info under it. Its
// JSON has other spaces and another order of keys.
func TestSignatureOutlivesTheOriginalsRewrite(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	want := signedView(w.get(t, cp.ID()))
	var values map[string]any
	if err := json.Unmarshal([]byte(w.index(cp.ID())), &values); err != nil {
		t.Fatal(err)
	}
	values["status"], values["extra_info"] = "error", `{"a": "b"}`
	text, err := json.MarshalIndent(values, "", "   ")
	if err != nil {
		t.Fatal(err)
	}
	w.setIndex(cp.ID(), string(text))
	got := w.get(t, cp.ID())
	if got.Status() != checkpoint.Error || signedView(got) != want {
		t.Errorf("status %s of\n%s\nwant\n%s", got.Status(), signedView(got), want)
	}
	// One who signs nothing reads and writes it as well, and a new graph of his is seen.
	unsigned := w.over(nil)
	got, err = unsigned.Get(t.Context(), cp.ID())
	if err != nil {
		t.Fatal(err)
	}
	set(t, got, checkpoint.Available)
	w.get(t, cp.ID())
	got.SetResourceGraph(`[{}, []]`)
	if err := got.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(t.Context(), cp.ID()); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("with the graph of another it gives %v", err)
	}
}

// Keys change: what the old one has signed is good while the file has it, and is signed
// by the new one when it is next written.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	both, second := w.over(signing(t, secondKey+"# the old one\n\n"+firstKey, true)), w.over(signing(t, secondKey, true))
	if _, err := second.Get(t.Context(), cp.ID()); !errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("without the old key: %v", err)
	}
	got, err := both.Get(t.Context(), cp.ID())
	if err != nil {
		t.Fatal(err)
	}
	set(t, got, checkpoint.Error)
	got.SetResourceGraph(`[{}, []]`)
	if err := got.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Get(t.Context(), cp.ID()); err != nil {
		t.Errorf("signed anew: %v", err)
	}
}

// An old bank has no signatures. They are missed only when they are required, and a
// commit adds none: it would vouch for what somebody else has written.
func TestSignaturesOfOldBanks(t *testing.T) {
	t.Parallel()
	for _, name := range append(goldenFiles(t, "fs_*.json"), goldenFiles(t, "swift_*ed.json")...) {
		g := readGolden(t, name)
		want := g.index(t)
		for _, require := range []bool{false, true} {
			memory := g.memory()
			c := checkpoint.NewCollection(bank.New(memory, nil), want.Provider, checkpoint.Options{Signing: signing(t, firstKey, require)})
			found, err := c.List(t.Context(), checkpoint.ListOptions{ProjectID: want.Project})
			if err != nil || len(found) > 0 && require {
				t.Errorf("%s, require %v: %d checkpoints, %v", name, require, len(found), err)
			}
			cp, err := c.Get(t.Context(), want.ID)
			if require != errors.Is(err, checkpoint.ErrSignature) || require == (err == nil) {
				t.Errorf("%s, require %v: %v", name, require, err)
			}
			if err == nil {
				cp.SetExtraInfo(json.RawMessage(`{}`))
				if err := cp.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if text := string(memory.Objects()["/checkpoints/"+want.ID+"/index.json"].Body); strings.Contains(text, "signature") {
				t.Errorf("%s was signed: %s", name, text)
			}
		}
	}
}

// Another provider in the same bank has keys of its own: its checkpoints are none here,
// and not broken ones.
func TestSignaturesOfOtherProviders(t *testing.T) {
	t.Parallel()
	w, cp := signedWorld(t)
	other := checkpoint.NewCollection(bank.New(w.memory, nil), "another", checkpoint.Options{Signing: signing(t, secondKey, true)})
	if _, err := other.Get(t.Context(), cp.ID()); err == nil || errors.Is(err, checkpoint.ErrSignature) {
		t.Errorf("get gives %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("5e", 32)
	for name, text := range map[string]string{
		"empty": "", "only remarks": "# x\n", "no id": secret, "short": "a " + secret[2:], "no digits": "a " + secret[2:] + "zz",
		"more words": "a " + secret + " x", "twice": "a " + secret + "\na " + secret, "a strange id": "a/b " + secret,
	} {
		_, err := checkpoint.LoadSigning(keyFile(t, text), false)
		if err == nil || strings.Contains(err.Error(), "5e5e") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, mode := range []os.FileMode{0o604, 0o602, 0o644, 0o666} {
		path := keyFile(t, firstKey)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoint.LoadSigning(path, false); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, path := range []string{t.TempDir(), "/nonexistent/keys"} {
		if _, err := checkpoint.LoadSigning(path, false); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
