// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// slowRecords are tables whose rows are locked for a while by each update, and
// that are away now and then.
type slowRecords struct {
	*memoryRecords
	row   chan struct{} // held by who updates the record
	takes time.Duration
	fails []int // numbers of updates, from 1

	mu      sync.Mutex
	updates int
	writers int // most at a time
	active  int
}

func (s *slowRecords) Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error {
	s.mu.Lock()
	s.active++
	s.writers = max(s.writers, s.active)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
	}()
	select {
	case s.row <- struct{}{}:
		defer func() { <-s.row }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	s.updates++
	failed := slices.Contains(s.fails, s.updates)
	s.mu.Unlock()
	if failed {
		return errDown
	}
	return s.memoryRecords.Update(ctx, kind, id, u)
}

// However slow the database is, however often it is away, and wherever the worker
// is stopped on the way: the record has what every hook has told, and one writer.
func TestEveryResourceIsOnRecord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{1, 7, 60}).Draw(rt, "volumes")
		takes := rapid.SampledFrom([]time.Duration{0, 10 * time.Millisecond, time.Second, 4 * time.Second}).Draw(rt, "an update takes")
		fails := rapid.SliceOfN(rapid.IntRange(1, 8), 0, 5).Draw(rt, "failing updates")
		stopped := rapid.SampledFrom([]time.Duration{0, 5 * time.Millisecond, 1500 * time.Millisecond, 6 * time.Second}).Draw(rt, "stopped after")
		kind := rapid.SampledFrom([]protection.Kind{protection.Restore, protection.Verify}).Draw(rt, "kind")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = playRecord(t, kind, n, takes, fails, stopped) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func playRecord(t *testing.T, kind protection.Kind, n int, takes time.Duration, fails []int, stopped time.Duration) string {
	s := newSite(t)
	slow := &slowRecords{memoryRecords: s.records, row: make(chan struct{}, 1), takes: takes, fails: fails}
	plugin := onMain(kind, func(ctx context.Context, c *protection.Call) error {
		id := "new-" + c.Resource.ID
		if err := c.UpdateStatus(ctx, id, "restoring", ""); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-protection.Draining(ctx):
			return protection.ErrHandover
		}
		return c.UpdateStatus(ctx, id, "available", "as good as new")
	})
	with := func(c *Config) { c.Records = slow }
	var all []resource.Resource
	for i := range n {
		all = append(all, resource.Resource{Type: resource.Volume, ID: fmt.Sprintf("v%d", i), Name: "v"})
	}
	first := s.process(t, plugin, nil, with)
	cp := protected(t, first.bench, all...)
	s.records.restores["r"] = database.Record{ID: "r"}
	start := first.engine.Restore
	if kind == protection.Verify {
		start = first.engine.Verify
	}
	if err := start(first.bench.ctx, Message{}, first.provider, cp, Record{ID: "r", ProjectID: project}); err != nil {
		return err.Error()
	}
	if stopped > 0 {
		time.Sleep(stopped)
		grace, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		first.engine.Stop(grace)
		cancel()
		first.kill()
		s.process(t, plugin, nil, with).adopt(t, s.journal)
	}
	first.finish()
	row, err := s.records.Get(t.Context(), database.Restores, "r")
	if err != nil || row.Status != progress.RecordSuccess {
		return fmt.Sprintf("the record is %+v, %v", row, err)
	}
	for _, r := range all {
		key := resource.Key{Type: r.Type, ID: "new-" + r.ID}.String()
		if row.ResourcesStatus[key] != "available" || row.ResourcesReason[key] != "as good as new" {
			return fmt.Sprintf("%s is %q (%q), %d of %d resources are on record", key, row.ResourcesStatus[key], row.ResourcesReason[key], len(row.ResourcesStatus), n)
		}
	}
	if slow.writers > 1 {
		return fmt.Sprintf("%d writers at a time", slow.writers)
	}
	return ""
}

// refusingRecords are tables that refuse what tells of an operation's end.
type refusingRecords struct {
	*memoryRecords
	record, log *database.RefusedError // nil: it is taken
}

func (r refusingRecords) Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error {
	if r.record != nil {
		return fmt.Errorf("update restore: %w", r.record)
	}
	return r.memoryRecords.Update(ctx, kind, id, u)
}

func (r refusingRecords) UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error {
	if r.log != nil {
		return fmt.Errorf("update operation log: %w", r.log)
	}
	return r.memoryRecords.UpdateOperationLog(ctx, id, u)
}

// What the database refuses for good does not keep an operation from its end: the
// rest is written, and the checkpoint is free.
func TestRefusedRowsEndTheOperation(t *testing.T) {
	t.Parallel()
	refusal := &database.RefusedError{Refusal: database.Denied, Err: errors.New("UPDATE command denied")}
	for name, c := range map[string]struct {
		records refusingRecords
		kind    protection.Kind
		fails   bool
		outcome journal.Outcome
		log     string
	}{
		"the record of a restore that succeeds": {refusingRecords{record: refusal}, protection.Restore, false, journal.Succeeded, progress.RecordSuccess},
		"the record of a restore that fails":    {refusingRecords{record: refusal}, protection.Restore, true, journal.Failed, progress.RecordFail},
		"the log of a restore that succeeds":    {refusingRecords{log: refusal}, protection.Restore, false, journal.Succeeded, progress.RecordInProgress},
		"the log of a restore that fails":       {refusingRecords{log: refusal}, protection.Restore, true, journal.Failed, progress.RecordInProgress},
		"both":                                  {refusingRecords{record: refusal, log: refusal}, protection.Restore, true, journal.Failed, progress.RecordInProgress},
		"the log of a protect that succeeds":    {refusingRecords{log: refusal}, protection.Protect, false, journal.Succeeded, string(checkpoint.Protecting)},
		"the log of a protect that fails":       {refusingRecords{log: refusal}, protection.Protect, true, journal.Failed, string(checkpoint.Protecting)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				c.records.memoryRecords = s.records
				plugin := onMain(c.kind, func(ctx context.Context, call *protection.Call) error {
					if err := call.UpdateStatus(ctx, "new", "restoring", ""); err != nil {
						return err
					}
					if c.fails {
						return errors.New("boom")
					}
					return nil
				})
				ready := s.process(t, hookPlugin{}, nil)
				cp := protected(t, ready.bench, volume)
				s.records.restores["r"] = database.Record{ID: "r"}
				s.records.logs = map[string]database.OperationLog{}
				p := s.process(t, plugin, nil, func(config *Config) { config.Records = c.records })
				var err error
				id := cp.ID()
				if c.kind == protection.Restore {
					err = p.engine.Restore(p.bench.ctx, Message{}, p.provider, cp, Record{ID: "r", ProjectID: project})
				} else {
					id, err = p.engine.Protect(p.bench.ctx, Message{}, p.provider, planOf(volume), nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				limited, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := p.engine.Idle(limited); err != nil {
					t.Fatalf("it does not end: %v", err)
				}
				entries, err := s.journal.List(t.Context(), journal.Filter{CheckpointID: id, Kind: string(c.kind)})
				if err != nil || len(entries) != 1 || entries[0].Outcome != c.outcome {
					t.Errorf("journal %+v, %v; want %s", entries, err, c.outcome)
				}
				if row := s.records.log(t, c.kind); row.Status != c.log {
					t.Errorf("operation log %+v, want status %s", row, c.log)
				}
				if status := s.checkpoint(t, id).Status(); status.Unfinished() {
					t.Errorf("checkpoint %s", status)
				}
			})
		})
	}
}

// A stop does not wait for a database that stays away: what has to be written is
// left for the next worker.
func TestStopDoesNotWaitForADatabase(t *testing.T) {
	t.Parallel()
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				ready := s.process(t, hookPlugin{}, nil)
				cp := protected(t, ready.bench, volume)
				s.records.restores["r"] = database.Record{ID: "r"}
				s.records.logs = map[string]database.OperationLog{}
				s.records.down = true
				first := s.process(t, onMain(kind, func(context.Context, *protection.Call) error { return errors.New("boom") }), nil)
				var err error
				if kind == protection.Restore {
					err = first.engine.Restore(first.bench.ctx, Message{}, first.provider, cp, Record{ID: "r", ProjectID: project})
				} else {
					_, err = first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute) // its pauses are long by now
				grace, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				first.engine.Stop(grace)
				if grace.Err() != nil {
					t.Error("the stop took all the time that it had")
				}
				s.records.mu.Lock()
				s.records.down = false
				s.records.mu.Unlock()
				second := s.process(t, hookPlugin{}, nil)
				second.adopt(t, s.journal)
				if row := s.records.log(t, kind); row.EndedAt.IsZero() || row.ErrorInfo != "boom" {
					t.Errorf("operation log %+v", row)
				}
			})
		})
	}
}

// refusingJournal answers every Begin with a refusal.
type refusingJournal struct {
	journal.Journal
	refusal database.Refusal
}

func (j refusingJournal) Begin(context.Context, journal.Entry) (journal.Entry, bool, error) {
	return journal.Entry{}, false, fmt.Errorf("begin: %w", &database.RefusedError{Refusal: j.refusal, Err: errors.New("INSERT command denied to user 'karbor'")})
}

// The answer to a request that cannot be recorded tells an outage from a refusal,
// and what to do about it.
func TestAnswersTellRefusals(t *testing.T) {
	t.Parallel()
	const head = "The operation cannot be recorded: "
	for refusal, want := range map[database.Refusal]string{
		database.Missing:  "tables are missing in the database: run karbor-protection --db-sync as a database user that may make tables",
		database.Denied:   "the database refuses it to the service's user: see its rights, and run karbor-protection --db-sync as one that may make tables",
		database.TooLarge: "the database refuses it: a statement is larger than the server takes",
	} {
		b := setup(t, hookPlugin{}, nil, func(c *Config) { c.Journal = refusingJournal{journaltest.NewMemory(time.Now), refusal} })
		_, err := b.engine.Protect(b.ctx, Message{}, b.provider, planOf(volume), nil)
		requireFault(t, err, "KarborException", head+want)
	}
}

// What cannot be kept as it is, is refused before anything has begun.
func TestWidthsAreCheckedFirst(t *testing.T) {
	t.Parallel()
	scheduled := func(id string) json.RawMessage {
		info, _ := json.Marshal(map[string]string{"created_by": "operation-engine", "scheduled_operation_id": id})
		text, _ := json.Marshal(string(info))
		return text
	}
	for name, c := range map[string]struct {
		plan, project string
		extra         json.RawMessage
		want          string
	}{
		"all is well":               {"plan", project, scheduled(strings.Repeat("ü", 36)), ""},
		"a long scheduled id":       {"plan", project, scheduled(strings.Repeat("x", 40)), "scheduled_operation_id: want at most 36 characters, got 40"},
		"NUL in the scheduled id":   {"plan", project, scheduled("a\x00"), "scheduled_operation_id: want a text without NUL and emoji"},
		"emoji in the scheduled id": {"plan", project, scheduled("\U0001f4be"), "scheduled_operation_id: want a text without NUL and emoji"},
		"a long plan id":            {strings.Repeat("p", 37), project, nil, "plan_id: want at most 36 characters, got 37"},
		"another's extra_info":      {"plan", project, json.RawMessage(`"{\"created_by\": \"me\", \"scheduled_operation_id\": \"` + strings.Repeat("x", 40) + `\"}"`), ""},
	} {
		b := setup(t, hookPlugin{}, nil)
		plan := planOf(volume)
		plan.ID, plan.ProjectID = c.plan, c.project
		_, err := b.engine.Protect(b.ctx, Message{}, b.provider, plan, c.extra)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			b.finish()
			continue
		}
		requireFault(t, err, "InvalidInput", "Invalid input received: "+c.want)
		if entries, err := b.engine.journal.List(t.Context(), journal.Filter{}); err != nil || len(entries) > 0 || len(keys(t, b.bank)) > 0 {
			t.Errorf("%s: it has begun: %+v, %v", name, entries, err)
		}
	}
}
