// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// process is one run of a worker over a site that outlives it. When it is
// killed, nothing that it does has an effect any more.
type process struct {
	*bench
	id     string
	ctx    context.Context
	cancel context.CancelCauseFunc
}

var errKilled = errors.New("killed")

func (p *process) ID() string               { return p.id }
func (p *process) Context() context.Context { return p.ctx }
func (p *process) Fence() func() error      { return func() error { return context.Cause(p.ctx) } }
func (p *process) kill()                    { p.cancel(errKilled) }

// mortal cuts a journal off from a process that was killed.
type mortal struct {
	journal.Journal
	process *process
}

func (m mortal) Start(ctx context.Context, id string, c journal.Claim) error {
	if err := context.Cause(m.process.ctx); err != nil {
		return err
	}
	return m.Journal.Start(ctx, id, c)
}

func (m mortal) Write(ctx context.Context, id string, c journal.Claim, marks ...journal.Mark) error {
	if err := context.Cause(m.process.ctx); err != nil {
		return err
	}
	return m.Journal.Write(ctx, id, c, marks...)
}

func (m mortal) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string, left json.RawMessage) error {
	if err := context.Cause(m.process.ctx); err != nil {
		return err
	}
	return m.Journal.End(ctx, id, c, o, reason, left)
}

// site is what outlives processes.
type site struct {
	*bench
	journal journal.Journal
}

func newSite(t *testing.T) *site {
	return &site{bench: setup(t, hookPlugin{}, nil), journal: journaltest.NewMemory(time.Now)}
}

// process starts a worker with a plugin, and lets it adopt what others left.
func (s *site) process(t *testing.T, plugin hookPlugin, cloud children, edit ...func(*Config)) *process {
	t.Helper()
	p := &process{id: newID()}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.bench = setup(t, plugin, cloud, append([]func(*Config){func(c *Config) {
		c.Journal, c.Tenure, c.Records = mortal{s.journal, p}, p, s.records
	}}, edit...)...)
	p.records = s.records
	provider, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{plugin}, Bank: bank.New(s.bank, nil)})
	if err != nil {
		t.Fatal(err)
	}
	p.provider, p.engine.Providers = provider, one{provider}
	return p
}

type one struct{ provider *providers.Provider }

func (o one) Get(id string) (*providers.Provider, error) {
	if id != o.provider.ID {
		return nil, fault.ProviderNotFound(id)
	}
	return o.provider, nil
}

// adopt takes over all that has not ended, and waits for the end.
func (p *process) adopt(t *testing.T, j journal.Journal) {
	t.Helper()
	left, err := j.List(t.Context(), journal.Filter{Unfinished: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		claim, err := j.Adopt(t.Context(), entry.ID, entry.Claim, p.id)
		if err != nil {
			t.Fatal(err)
		}
		entry.Claim = claim
		p.engine.Adopt(entry)
	}
	p.engine.alive.Wait()
}

// A hook that had finished is not run again, one that had not is entered again
// with its state, and new resources are known.
func TestResume(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	runs := map[string]int{}
	count := func(name string) { mu.Lock(); defer mu.Unlock(); runs[name]++ }
	other := resource.Resource{Type: resource.Volume, ID: "w"}
	s := newSite(t)
	ready := s.process(t, hookPlugin{}, nil)
	cp := protected(t, ready.bench, volume, other)
	s.records.restores["r"] = database.Record{ID: "r"}

	finished, entered := make(chan struct{}), make(chan struct{})
	first := s.process(t, onMain(protection.Restore, func(ctx context.Context, c *protection.Call) error {
		count("first " + c.Resource.ID)
		if c.Resource.ID == "v" {
			c.NewResources.Set("v", "new-v")
			close(finished)
			return nil
		}
		if err := c.SaveState(ctx, "halfway"); err != nil {
			return err
		}
		<-finished
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}), nil)
	if err := first.engine.Restore(first.bench.ctx, Message{}, first.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		t.Fatal(err)
	}
	<-entered
	entry := first.engine.only(t)
	await(t, "the mark of the hook that has ended", func() bool { // the hook of v has ended, and that is on record
		var v progress.Resource
		marks, err := s.journal.Marks(t.Context(), entry.entry.ID, progress.ResourceMarks+volume.Key().String())
		return err == nil && len(marks) == 1 && json.Unmarshal(marks[0].Value, &v) == nil && v.State == progress.Finished
	})
	first.kill()
	first.engine.alive.Wait()

	second := s.process(t, onMain(protection.Restore, func(ctx context.Context, c *protection.Call) error {
		count("second " + c.Resource.ID)
		var state string
		if err := c.LoadState(ctx, &state); err != nil || state != "halfway" {
			t.Errorf("state %q, %v", state, err)
		}
		if id, _ := c.NewResources.Get("v"); id != "new-v" {
			t.Errorf("the new volume is %q", id)
		}
		return nil
	}), nil)
	second.adopt(t, s.journal)
	if runs["first v"] != 1 || runs["first w"] != 1 || runs["second w"] != 1 || runs["second v"] != 0 {
		t.Errorf("hooks ran %v", runs)
	}
	if r := s.records.restores["r"]; r.Status != "success" {
		t.Errorf("restore %+v", r)
	}
	if row := s.records.log(t, protection.Restore); row.Status != "success" || row.EndedAt.IsZero() {
		t.Errorf("operation log %+v", row)
	}
}

// only gives the one run of an engine.
func (e *Engine) only(t *testing.T) *run {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.runs {
		return r
	}
	t.Fatal("the engine runs nothing")
	return nil
}

// A verdict that was pronounced is carried out: hooks do not run again.
func TestResumeAfterAVerdict(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.process(t, onMain(protection.Protect, func(context.Context, *protection.Call) error {
		return errors.New("no space")
	}), nil)
	s.records.mu.Lock()
	s.records.down = true // so it cannot come to its end
	s.records.mu.Unlock()
	id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the checkpoint's error", func() bool { return first.checkpoint(t, id).Status() == checkpoint.Error })
	first.kill()
	first.engine.alive.Wait()
	s.records.mu.Lock()
	s.records.down = false
	s.records.mu.Unlock()

	second := s.process(t, onMain(protection.Protect, func(context.Context, *protection.Call) error {
		t.Error("a hook ran after the verdict")
		return nil
	}), nil)
	second.adopt(t, s.journal)
	if row := s.records.log(t, protection.Protect); row.Status != "error" || row.ErrorInfo != "no space" || row.EndedAt.IsZero() {
		t.Errorf("operation log %+v", row)
	}
	entries, _ := s.journal.List(t.Context(), journal.Filter{})
	if len(entries) != 1 || entries[0].Outcome != journal.Failed {
		t.Errorf("journal %+v", entries)
	}
}

// Once users can see that an operation has succeeded it cannot be cancelled any
// more, whoever brings it to its end.
func TestCancelAfterSuccess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.process(t, hookPlugin{}, nil)
	s.records.mu.Lock()
	s.records.down = true // so it cannot come to its end
	s.records.mu.Unlock()
	id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the available checkpoint", func() bool { return first.checkpoint(t, id).Status() == checkpoint.Available })
	first.kill()
	first.engine.alive.Wait()
	s.records.mu.Lock()
	s.records.down = false
	s.records.mu.Unlock()
	entries, _ := s.journal.List(t.Context(), journal.Filter{})
	if err := s.journal.Cancel(t.Context(), entries[0].ID, "alice"); err != nil {
		t.Fatal(err)
	}
	entries[0].CancelledBy = "alice"

	second := s.process(t, hookPlugin{}, nil)
	second.adopt(t, s.journal)
	if status := s.checkpoint(t, id).Status(); status != checkpoint.Available {
		t.Errorf("status %s, want available", status)
	}
	if row := s.records.log(t, protection.Protect); row.Status != "available" || row.EndedAt.IsZero() {
		t.Errorf("operation log %+v", row)
	}
	if d, err := second.engine.Operation(t.Context(), entries[0].ID); err != nil || d.Status != "succeeded" {
		t.Errorf("operation %+v, %v", d, err)
	}
}

// patient is how long anything may take that is waited for. It is no expectation.
const patient = 5 * time.Minute

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patient)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// A message that comes again starts nothing and gets the answer of the first.
func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{}, nil)
	accepted := 0
	message := Message{Key: "unique", Accepted: func() { accepted++ }}
	if _, known, err := b.engine.Answered(b.ctx, message); known || err != nil {
		t.Fatalf("known %t, %v", known, err)
	}
	id, err := b.engine.Protect(b.ctx, message, b.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.engine.Protect(b.ctx, message, b.provider, planOf(volume), nil)
	if err != nil || again != id {
		t.Errorf("answer %q, %v, want %q", again, err, id)
	}
	answer, known, err := b.engine.Answered(b.ctx, message)
	var text string
	if !known || err != nil || json.Unmarshal(answer, &text) != nil || text != id {
		t.Errorf("answer %s, %t, %v", answer, known, err)
	}
	b.finish()
	if all, _ := b.provider.Checkpoints.List(b.ctx, checkpoint.ListOptions{ProjectID: project}); len(all) != 1 || accepted == 0 {
		t.Errorf("%d checkpoints, %d times accepted", len(all), accepted)
	}
}

// A refused request is refused again.
func TestRepeatedRefusal(t *testing.T) {
	t.Parallel()
	b := setup(t, hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
		return nil, fault.ProtectionPluginNotFound("OS::X")
	}}, nil)
	message := Message{Key: "unique"}
	const want = "Flow: protect, Error: Protection Plugin for OS::X could not be found."
	for range 2 {
		_, err := b.engine.Protect(b.ctx, message, b.provider, planOf(volume), nil)
		requireFault(t, err, "FlowError", want)
	}
	_, known, err := b.engine.Answered(b.ctx, message)
	if !known {
		t.Error("not known")
	}
	requireFault(t, err, "FlowError", want)
}

// What a cancelled operation has made goes, and everything says who ended it.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, queued := range []bool{false, true} {
		started := make(chan struct{}, 2)
		b := setup(t, kept(started), nil, func(c *Config) { c.Limits.Total = 1 })
		id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
		if err != nil {
			t.Fatal(err)
		}
		<-started
		target := id
		if queued {
			if target, err = b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil); err != nil {
				t.Fatal(err)
			}
		}
		entries, _ := b.engine.journal.List(t.Context(), journal.Filter{CheckpointID: target})
		if err := b.engine.Cancel(t.Context(), entries[0].ID, "alice"); err != nil {
			t.Fatal(err)
		}
		await(t, "the copy's error", func() bool { return b.checkpoint(t, target).Status() == checkpoint.Error })
		await(t, "the operation, cancelled by alice", func() bool {
			d, err := b.engine.Operation(t.Context(), entries[0].ID)
			return err == nil && d.Status == "cancelled" && d.Reason == "cancelled by alice"
		})
		if queued {
			first, _ := b.engine.journal.List(t.Context(), journal.Filter{CheckpointID: id})
			if err := b.engine.Cancel(t.Context(), first[0].ID, "bob"); err != nil {
				t.Fatal(err)
			}
		}
		b.finish()
		for _, key := range keys(t, b.bank) {
			if key == "/checkpoints/"+target+"/resource-data/v/data" {
				t.Error("the backup of a cancelled protection stays")
			}
		}
		err = b.engine.Cancel(t.Context(), entries[0].ID, "alice")
		requireFault(t, err, "InvalidInput", "Invalid input received: Operation "+entries[0].ID+" has ended already.")
	}
}

// A hook that takes too long ends, and the operation with it.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Config){
		"hook":      func(c *Config) { c.HookTimeout = time.Millisecond },
		"operation": func(c *Config) { c.OperationTimeout = time.Millisecond },
	} {
		b := setup(t, onMain(protection.Protect, func(ctx context.Context, _ *protection.Call) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}), nil, edit)
		cp := protected(t, b, volume)
		row := b.records.log(t, protection.Protect)
		if cp.Status() != checkpoint.Error || row.Status != "error" || row.EndedAt.IsZero() {
			t.Errorf("%s: status %s, operation log %+v", name, cp.Status(), row)
		}
	}
}

// slowEnd is a journal whose entries are closed late.
type slowEnd struct {
	journal.Journal
	release chan struct{}
}

func (j slowEnd) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string, left json.RawMessage) error {
	<-j.release
	return j.Journal.End(ctx, id, c, o, reason, left)
}

// A user who sees that a checkpoint is available may use it at once, though the
// entry of its protection is not closed yet.
func TestNextOperationAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := setup(t, hookPlugin{}, nil, func(c *Config) { c.Journal = slowEnd{journaltest.NewMemory(time.Now), release}; c.Patience = time.Hour })
	id, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the available checkpoint", func() bool { return b.checkpoint(t, id).Status() == checkpoint.Available })
	deleted := make(chan error, 1)
	go func() { deleted <- b.engine.Delete(b.ctx, Message{}, b.provider, b.checkpoint(t, id)) }()
	close(release)
	if err := <-deleted; err != nil {
		t.Errorf("a delete that came early: %v", err)
	}
	b.finish()
	if status := b.checkpoint(t, id).Status(); status != checkpoint.Deleted {
		t.Errorf("status %s", status)
	}
}

// A deletion that is cancelled before its worker could open it ends as one that has begun.
func TestCancelOfADeletionThatWasNotOpened(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.process(t, hookPlugin{}, nil)
	cp := protected(t, p.bench, volume)
	text, err := json.Marshal(input{Version: inputVersion, Checkpoint: cp.ID(), Before: checkpoint.Available})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.journal.Begin(t.Context(), journal.Entry{ID: "deletion", Kind: string(protection.Delete), Subject: cp.ID(), Exclusive: true,
		CheckpointID: cp.ID(), ProviderID: "provider", ProjectID: project, Input: text, Claim: journal.Claim{Owner: "dead"}})
	if err == nil {
		err = s.journal.Cancel(t.Context(), "deletion", "alice")
	}
	if err != nil {
		t.Fatal(err)
	}
	p.adopt(t, s.journal)
	entry, err := s.journal.Get(t.Context(), "deletion")
	if err != nil || entry.Outcome != journal.Cancelled {
		t.Errorf("%+v, %v", entry, err)
	}
	if status, row := s.checkpoint(t, cp.ID()).Status(), s.records.log(t, protection.Delete); status != checkpoint.ErrorDeleting || row.Status != string(status) {
		t.Errorf("the checkpoint is %s, the operation log says %s", status, row.Status)
	}
}

// forgetfulJournal loses the answer to each Begin.
type forgetfulJournal struct{ journal.Journal }

func (j forgetfulJournal) Begin(ctx context.Context, e journal.Entry) (journal.Entry, bool, error) {
	_, _, err := j.Journal.Begin(ctx, e)
	return journal.Entry{}, false, errors.Join(err, driver.ErrBadConn)
}

// A caller was told that its operation cannot be recorded, and only the answer of the
// database was lost. When the entry is found, by the same run of the worker or by the next,
// the operation ends as the caller was told and does not run. So is the message answered
// when it comes again.
func TestDeniedOperationIsNotRun(t *testing.T) {
	t.Parallel()
	for name, restarted := range map[string]bool{"found by the same run": false, "found after a restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept, ran, file := journaltest.NewMemory(nil), false, filepath.Join(t.TempDir(), "denied")
			plugin := hookPlugin{func(protection.Kind, resource.Resource) (*protection.Operation, error) {
				return &protection.Operation{Main: func(context.Context, *protection.Call) error { ran = true; return nil }}, nil
			}}
			start := func(j journal.Journal) *bench {
				b := setup(t, plugin, nil, func(c *Config) { c.Journal, c.Denials = j, file })
				b.engine.Providers = one{b.provider}
				return b
			}
			b := start(forgetfulJournal{kept})
			const text = "The operation cannot be recorded: the database does not answer"
			_, err := b.engine.Protect(b.ctx, Message{Key: "m"}, b.provider, planOf(volume), nil)
			requireFault(t, err, "KarborException", text)
			entries, err := kept.List(t.Context(), journal.Filter{Unfinished: true})
			if err != nil || len(entries) != 1 {
				t.Fatalf("entries on record: %+v, %v", entries, err)
			}
			if restarted {
				b = start(kept)
			}
			e := entries[0]
			if e.Claim, err = kept.Adopt(t.Context(), e.ID, e.Claim, e.Owner); err != nil { // as the keeper does with its own
				t.Fatal(err)
			}
			b.engine.Adopt(e)
			var ended *journal.Entry
			await(t, "the entry to end", func() bool {
				ended, err = kept.Get(t.Context(), e.ID)
				return err != nil || ended.State == journal.Ended
			})
			if err != nil || ended.Outcome != journal.Failed || ended.Reason != text || ran {
				t.Errorf("it ran: %v, and the entry is %s, %q, %v", ran, ended.Outcome, ended.Reason, err)
			}
			if keys := keys(t, b.bank); len(keys) > 0 || len(b.records.logs) > 0 {
				t.Errorf("it has left %v and %v", keys, b.records.logs)
			}
			_, known, err := b.engine.Answered(b.ctx, Message{Key: "m"})
			if !known {
				t.Error("the message is not known")
			}
			requireFault(t, err, "FlowError", "Flow: protect, Error: "+text)
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file of denials stays: %v", err)
			}
		})
	}
}

// The file of denials bears what a crash leaves in it, and does not grow for ever.
func TestDenialsAreKept(t *testing.T) {
	t.Parallel()
	file, log := filepath.Join(t.TempDir(), "denied"), logrus.New()
	log.SetOutput(io.Discard)
	newDenials(file, log).add("a", "no")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(text, []byte(`{"id":"b","to`)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	newDenials(file, log).add("c", "no, too")
	d := newDenials(file, log)
	if told, ok := d.take("c"); !ok || told != "no, too" {
		t.Errorf("behind a line that was cut off: %q, %t", told, ok)
	}
	if told, ok := d.take("a"); !ok || told != "no" || len(d.told) != 0 {
		t.Errorf("%q, %t, left %v", told, ok, d.told)
	}
	if _, ok := d.take("a"); ok {
		t.Error("a denial is found twice")
	}
	for n := range maxDenials + 1 {
		d.told[fmt.Sprint(n)] = "no" // without a file, which is slow
	}
	d.add("last", "no")
	if again := newDenials(file, log); len(d.told) != 1 || len(again.told) != 1 {
		t.Errorf("%d denials are remembered, and %d on disk, want the last one", len(d.told), len(again.told))
	}
	unwritable := newDenials(filepath.Join(file, "below"), log)
	unwritable.add("c", "no")
	if _, ok := unwritable.take("c"); !ok {
		t.Error("a denial that could not be written is forgotten")
	}
}
