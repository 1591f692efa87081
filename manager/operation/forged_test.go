// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

const token = "the-callers-token"

func newSealer(t *testing.T) *journal.Sealer {
	t.Helper()
	s, err := journal.NewSealer(filepath.Join(t.TempDir(), "journal.key"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begun is the entry of an operation whose worker was killed in its first hook, and
// the site where that was.
func begun(t *testing.T, kind protection.Kind, sealer Sealer) (*site, journal.Entry) {
	t.Helper()
	s := newSite(t)
	ready := s.process(t, hookPlugin{}, nil)
	cp := protected(t, ready.bench, volume)
	s.records.restores["r"] = database.Record{ID: "r", Status: progress.RecordInProgress}
	entered := make(chan struct{})
	first := s.process(t, onMain(kind, func(ctx context.Context, _ *protection.Call) error {
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}), nil, func(c *Config) { c.Sealer = sealer })
	ctx := requestcontext.New(t.Context(),
		&requestcontext.RequestContext{ProjectID: project, UserID: "u", AuthToken: token})
	var err error
	switch kind {
	case protection.Protect:
		_, err = first.engine.Protect(ctx, Message{Key: "message"}, first.provider, planOf(volume), json.RawMessage(`{"note":"signed"}`))
	case protection.Restore:
		err = first.engine.Restore(ctx, Message{Key: "message"}, first.provider, cp, Record{ID: "r", ProjectID: project, Parameters: Parameters{}})
	case protection.Delete:
		err = first.engine.Delete(ctx, Message{Key: "message"}, first.provider, cp)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	first.kill()
	first.engine.alive.Wait()
	left, err := s.journal.List(t.Context(), journal.Filter{Unfinished: true})
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	entry, err := s.journal.Get(t.Context(), left[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return s, *entry
}

// goOn gives an entry to another worker, and returns what has become of it and how
// many hooks have run.
func (s *site) goOn(t *testing.T, entry journal.Entry, edit func(*Config)) (ended journal.Entry, hooks int) {
	t.Helper()
	s.journal = journaltest.NewMemory(time.Now) // the entry as it was begun, if it had been like this
	entry.State = journal.Queued
	begun, _, err := s.journal.Begin(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	p := s.process(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return &protection.Operation{Main: func(context.Context, *protection.Call) error { hooks++; return nil }}, nil
	}}, nil, edit)
	p.adopt(t, s.journal)
	got, err := s.journal.Get(t.Context(), begun.ID)
	if err != nil {
		t.Fatal(err)
	}
	return *got, hooks
}

// forgeries are an entry with one thing changed in each.
func forgeries(t *testing.T, entry journal.Entry, stranger Sealer) map[string]journal.Entry {
	t.Helper()
	forged := map[string]journal.Entry{}
	journals := []string{"Input", "Claim", "State", "Outcome", "Reason", "CancelledBy", "CreatedAt", "StartedAt", "EndedAt"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[journal.Entry]()) {
		if len(field.Index) > 1 || slices.Contains(journals, field.Name) {
			continue
		}
		e := entry
		switch at := reflect.ValueOf(&e).Elem().FieldByIndex(field.Index); at.Kind() {
		case reflect.String:
			at.SetString(at.String() + "x")
		case reflect.Bool:
			at.SetBool(!at.Bool())
		default:
			t.Errorf("field %s of %s: this test cannot change it", field.Name, at.Kind())
		}
		forged[field.Name] = e
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(entry.Input, &members); err != nil {
		t.Fatal(err)
	}
	with := func(name, what string, change func(map[string]json.RawMessage)) {
		e, copied := entry, maps.Clone(members)
		change(copied)
		text := answerOf(copied)
		if signature, there := copied["signature"]; there { // where workers have it
			delete(copied, "signature")
			text = answerOf(copied)
			text = append(text[:len(text)-1], `,"signature":`+string(signature)+"}"...)
		}
		e.Input = text
		forged["input "+name+" "+what] = e
	}
	all := slices.Sorted(maps.Keys(members))
	for _, field := range reflect.VisibleFields(reflect.TypeFor[input]()) {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag != "" && !slices.Contains(all, tag) {
			all = append(all, tag)
		}
	}
	for _, name := range all {
		with(name, "missing", func(m map[string]json.RawMessage) { delete(m, name) })
		for _, value := range []string{"null", `"x"`, "7", "{}", "[]", "true"} {
			with(name, value, func(m map[string]json.RawMessage) { m[name] = json.RawMessage(value) })
		}
	}
	for name, text := range map[string]string{
		"empty": "", "null": "null", "text": "\x00\xff", "bomb": strings.Repeat("[", 1<<16), "cut": string(entry.Input[:len(entry.Input)/2]),
		"signature twice": strings.TrimSuffix(string(entry.Input), "}") + string(entry.Input[strings.LastIndex(string(entry.Input), signed):]),
		"more":            string(entry.Input) + " ",
	} {
		e := entry
		e.Input = json.RawMessage(text)
		forged["input "+name] = e
	}
	e := entry
	e.Input = slices.Clone(entry.Input[:strings.LastIndex(string(entry.Input), signed)])
	e.Input = append(e.Input, '}')
	sign(&e, stranger)
	forged["signature of another key"] = e
	return forged
}

// TestForgedEntries changes each thing in an entry: no hook runs, the operation has
// failed and says why, and nothing in the bank has changed.
func TestForgedEntries(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Delete} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			sealer := newSealer(t)
			s, entry := begun(t, kind, sealer)
			keyed := func(c *Config) { c.Sealer = sealer }
			before := s.bank.Plugin.(interface{ Below(string) []string }).Below("/")
			for name, e := range forgeries(t, entry, newSealer(t)) {
				if reflect.DeepEqual(e, entry) {
					continue // it was like this
				}
				ended, hooks := s.goOn(t, e, keyed)
				if ended.Outcome != journal.Failed || ended.Reason != errForged.Error() || hooks != 0 {
					t.Errorf("%s: outcome %q, reason %q, %d hooks ran", name, ended.Outcome, ended.Reason, hooks)
				}
				if after := s.bank.Plugin.(interface{ Below(string) []string }).Below("/"); !slices.Equal(before, after) {
					t.Errorf("%s: the bank has %d keys, it had %d", name, len(after), len(before))
				}
			}
			if ended, hooks := s.goOn(t, entry, keyed); ended.Outcome != journal.Succeeded || hooks == 0 {
				t.Errorf("as it was: outcome %q, reason %q, %d hooks ran", ended.Outcome, ended.Reason, hooks)
			}
		})
	}
}

// TestEveryByteIsSigned flips each byte of an input in turn.
func TestEveryByteIsSigned(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t)
	_, entry := begun(t, protection.Protect, sealer)
	if err := verify(&entry, sealer, false); err != nil {
		t.Fatal(err)
	}
	for i := range entry.Input {
		e := entry
		e.Input = slices.Clone(entry.Input)
		e.Input[i] ^= 1
		if err := verify(&e, sealer, false); err == nil {
			t.Errorf("byte %d of %d: %q is as good as %q", i, len(e.Input), e.Input[i], entry.Input[i])
		}
	}
}

// TestUpgrade: workers of the version before sign nothing and know of no signatures.
// They go on with what this one has begun; this one goes on with theirs where it is
// told to.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t)
	s, entry := begun(t, protection.Protect, sealer)
	var older struct { // what such a worker reads
		Version    int
		Caller     string
		Sealed     bool
		Checkpoint string
		Plan       *Plan
	}
	if err := json.Unmarshal(entry.Input, &older); err != nil || older.Version != 1 || !older.Sealed || older.Checkpoint == "" || older.Plan == nil {
		t.Errorf("an older worker reads %+v (%v)", older, err)
	}
	if caller, err := sealer.Open(older.Caller, entry.ID); err != nil || !strings.Contains(string(caller), token) {
		t.Errorf("an older worker opens %q (%v)", caller, err)
	}
	entry.Input = append(entry.Input[:strings.LastIndex(string(entry.Input), signed)], '}')
	keyed := func(c *Config) { c.Sealer = sealer }
	if ended, hooks := s.goOn(t, entry, keyed); ended.Outcome != journal.Failed || hooks != 0 {
		t.Errorf("outcome %q, %d hooks ran", ended.Outcome, hooks)
	}
	s, entry = begun(t, protection.Protect, sealer)
	entry.Input = append(entry.Input[:strings.LastIndex(string(entry.Input), signed)], '}')
	if ended, hooks := s.goOn(t, entry, func(c *Config) { keyed(c); c.AcceptUnsigned = true }); ended.Outcome != journal.Succeeded || hooks == 0 {
		t.Errorf("outcome %q, reason %q, %d hooks ran", ended.Outcome, ended.Reason, hooks)
	}
}

// TestCallerGoesWithTheEnd: whatever the end of an operation, its entry then has
// nothing of the caller, and still what the message is answered with that comes again.
func TestCallerGoesWithTheEnd(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Delete} {
		sealer := newSealer(t)
		s, entry := begun(t, kind, sealer)
		var before input
		if err := json.Unmarshal(entry.Input, &before); err != nil || before.Caller == "" {
			t.Fatal(before, err)
		}
		for name, edit := range map[string]func(*journal.Entry, *Config){
			"success":  func(*journal.Entry, *Config) {},
			"failure":  func(e *journal.Entry, _ *Config) { e.CheckpointID = "gone" },
			"unsigned": func(e *journal.Entry, c *Config) { c.AcceptUnsigned = true },
		} {
			e := entry
			c := Config{Sealer: sealer}
			edit(&e, &c)
			ended, _ := s.goOn(t, e, func(of *Config) { of.Sealer, of.AcceptUnsigned = c.Sealer, c.AcceptUnsigned })
			var after input
			if err := json.Unmarshal(ended.Input, &after); err != nil || ended.State != journal.Ended || after.Caller != "" || after.Plan != nil || after.Record != nil {
				t.Errorf("%s, %s: %s is left in state %s (%v)", kind, name, ended.Input, ended.State, err)
			}
			if name != "failure" && string(after.Answer) != string(before.Answer) {
				t.Errorf("%s, %s: answered %s, then %s", kind, name, before.Answer, after.Answer)
			}
		}
	}
}

// TestForgedWhileQueued: an entry may be changed while the worker that has begun it
// has no more of it than the journal.
func TestForgedWhileQueued(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t)
	s, entry := begun(t, protection.Protect, sealer)
	p := s.process(t, hookPlugin{}, nil, func(c *Config) { c.Sealer = sealer })
	r := p.engine.resume(entry, inputOfEntry(&entry), &requestcontext.RequestContext{ProjectID: project}, p.provider)
	r.park()
	r.entry.PlanID, r.entry.Input = "another", entry.Input
	if err := r.unpark(); err != nil || r.outcome == nil || r.outcome.Reason != errForged.Error() || r.input.Plan != nil {
		t.Errorf("%v, %+v, %+v", err, r.outcome, r.input)
	}
	r.handOver(nil)
}

// TestUnsignedIsNoDanger: what lets unsigned entries pass lets none end the worker.
func TestUnsignedIsNoDanger(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Delete} {
		sealer := newSealer(t)
		s, entry := begun(t, kind, sealer)
		for name, e := range forgeries(t, entry, newSealer(t)) {
			if at := strings.LastIndex(string(e.Input), signed); at >= 0 {
				e.Input = append(slices.Clone(e.Input[:at]), '}')
			}
			if _, err := decodeInput(e.Input); err != nil || !known(protection.Kind(e.Kind)) || e.ProviderID != entry.ProviderID {
				continue // who adopts it keeps it, with its reason
			}
			if ended, _ := s.goOn(t, e, func(c *Config) { c.Sealer, c.AcceptUnsigned = sealer, true }); ended.State != journal.Ended {
				t.Errorf("%s of a %s: it is %s", name, kind, ended.State)
			}
		}
	}
}
