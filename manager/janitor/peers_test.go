// SPDX-License-Identifier: Apache-2.0

package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/providers"
)

// Of two janitors one acts, and the other one when that has stopped.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		one, two := w.worker(t, "one", true), w.worker(t, "two", true)
		w.create(t, "c", checkpoint.Protecting)
		one.Start()
		time.Sleep(time.Second)
		two.Start()
		time.Sleep(10 * time.Hour)
		if len(one.repairs()) != 1 || len(two.repairs()) != 0 {
			t.Errorf("one said %q, two said %q", one.repairs(), two.repairs())
		}
		if n := two.faulty.Calls(banktest.List); n > 0 {
			t.Errorf("the second one listed the bank %d times", n)
		}
		over, cancel := context.WithCancel(context.Background())
		cancel() // there is no time left to stop in
		one.Stop(over)
		w.create(t, "d", checkpoint.Protecting)
		time.Sleep(3 * time.Hour)
		if got := w.status(t, "d"); got != checkpoint.Error || len(two.repairs()) != 1 {
			t.Errorf("the status is %s, two said %q", got, two.repairs())
		}
	})
}

// A janitor that dies holds others up for a time only.
func TestDeadJanitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Protecting)
		for name, hold := range map[string]time.Duration{"janitor-turn": 90 * time.Minute, "janitor": 2 * time.Minute} {
			if ours, err := w.journal.Lock(t.Context(), name, "dead", hold); !ours || err != nil {
				t.Fatal(ours, err)
			}
		}
		w.worker(t, "janitor", true).Start()
		time.Sleep(5 * time.Hour)
		if got := w.status(t, "c"); got != checkpoint.Error {
			t.Errorf("the status is %s", got)
		}
	})
}

// ended is a tenure that is over.
type ended struct{ ctx context.Context }

func (ended) ID() string                 { return "ended" }
func (e ended) Context() context.Context { return e.ctx }
func (e ended) Fence() func() error      { return func() error { return context.Cause(e.ctx) } }

// Without the worker's tenure nothing is written.
func TestTenure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Protecting)
		w.put("/checkpoints/d/resource-data/r/metadata")
		before := w.store.Objects()
		ctx, cancel := context.WithCancel(context.Background())
		k := w.worker(t, "janitor", true, func(c *janitor.Config) { c.Tenure = ended{ctx} })
		k.Start()
		time.Sleep(afterFirst)
		cancel()
		time.Sleep(5 * time.Hour)
		if diff := cmp.Diff(before, w.store.Objects()); diff != "" || len(w.rows.all()) > 0 {
			t.Errorf("rows %q, the bank has changed (-before +after):\n%s", w.rows.all(), diff)
		}
	})
}

// The bank of one provider that is away does not keep the others from repair,
// and what could not be done is done by a later pass.
func TestFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, away := newWorld(), newWorldOf("provider-2")
		w.create(t, "c", checkpoint.Protecting)
		away.create(t, "d", checkpoint.Protecting)
		other := away.worker(t, "janitor", false)
		k := w.worker(t, "janitor", true, func(c *janitor.Config) {
			c.Providers = append([]*providers.Provider{other.provider}, c.Providers...)
		})
		w.rows.become(true)
		faults := make([]banktest.Fault, 2)
		for i := range faults {
			faults[i] = banktest.Fault{Err: errAway}
		}
		other.faulty.Queue(banktest.List, faults...)
		k.Start()
		time.Sleep(afterFirst + afterSecond)
		if got := w.status(t, "c"); got != checkpoint.Protecting {
			t.Errorf("with rows open the status is %s", got)
		}
		w.rows.become(false)
		time.Sleep(time.Hour)
		if got := w.status(t, "c"); got != checkpoint.Error {
			t.Errorf("the status is %s", got)
		}
		if got := away.status(t, "d"); got != checkpoint.Protecting {
			t.Errorf("after one look the status is %s", got)
		}
		time.Sleep(time.Hour)
		if got := away.status(t, "d"); got != checkpoint.Error {
			t.Errorf("the status is %s", got)
		}
	})
}

// A checkpoint that cannot be read, an owner that nobody could be, and names that no
// key has keep no other checkpoint from its repair.
func TestUnusableAmongOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, id := range []string{"a", "b", "c", "d"} {
			w.create(t, id, checkpoint.Protecting)
		}
		k := w.worker(t, "janitor", true)
		k.faulty.Spoil("/checkpoints/b/index.json", fmt.Errorf("%w: permission denied", bank.ErrUnusable))
		k.faulty.Spoil("/checkpoints/0/", fmt.Errorf("%w: permission denied", bank.ErrUnusable))
		w.put("/checkpoints/0/index.json")
		w.put("/checkpoints/c062~/index.json")
		index := w.store.Objects()["/checkpoints/c/index.json"]
		index.Body = bytes.ReplaceAll(index.Body, []byte(deadOwner), []byte(`no\u0000body`))
		w.store.Set("/checkpoints/c/index.json", index)
		k.Start()
		time.Sleep(afterFirst + afterSecond)
		for id, want := range map[string]checkpoint.Status{
			"a": checkpoint.Error, "b": checkpoint.Protecting, "c": checkpoint.Error, "d": checkpoint.Error,
		} {
			if got := w.status(t, id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
	})
}

// Turned off, it does nothing.
func TestOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Protecting)
		k := w.worker(t, "janitor", true, func(c *janitor.Config) { c.Interval = 0 })
		k.Start()
		time.Sleep(100 * time.Hour)
		if n := k.faulty.Calls(banktest.List); n > 0 {
			t.Errorf("the bank was listed %d times", n)
		}
	})
}

// What a dry run tells is what a repair does.
func TestRepair(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				removing := func(c *janitor.Config) { c.RemoveOrphans = d.orphan }
				d.harm(t, w)
				w.create(t, "alive", checkpoint.Protecting)
				w.begin(t, "alive")
				before := w.store.Objects()
				plan, err := w.worker(t, "planner", true, removing).Plan(t.Context())
				if err != nil || len(plan) != 1 || !strings.Contains(plan[0], d.said) {
					t.Fatalf("the plan is %q, %v, want a line with %q", plan, err, d.said)
				}
				if diff := cmp.Diff(before, w.store.Objects()); diff != "" || len(w.rows.all()) > 0 || w.leases.count() > 0 {
					t.Fatalf("rows %q, %d leases, the dry run has changed the bank (-before +after):\n%s", w.rows.all(), w.leases.count(), diff)
				}
				began := time.Now()
				var told []string
				done, err := w.worker(t, "repairer", true, removing).Repair(t.Context(), func(text string) { told = append(told, text) })
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(plan, done); diff != "" {
					t.Errorf("what was done is not the plan (-plan +done):\n%s", diff)
				}
				d.check(t, w, true)
				if took := time.Since(began); took < 10*time.Minute || len(told) != 1 {
					t.Errorf("it took %s and told %q", took, told)
				}
				if got := w.status(t, "alive"); got != checkpoint.Protecting {
					t.Errorf("the living one is %s", got)
				}
				again, err := w.worker(t, "again", true, removing).Repair(t.Context(), nil)
				if err != nil || len(again) > 0 {
					t.Errorf("a second repair does %q, %v", again, err)
				}
			})
		})
	}
}

// A repair waits while a janitor is at work, and keeps it from working.
func TestRepairWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.create(t, "c", checkpoint.Protecting)
		if ours, err := w.journal.Lock(t.Context(), "janitor", "somebody", time.Minute); !ours || err != nil {
			t.Fatal(ours, err)
		}
		repairer := w.worker(t, "repairer", true)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errAway)
		defer cancel()
		if done, err := repairer.Repair(ctx, nil); !errors.Is(err, errAway) || len(done) > 0 {
			t.Errorf("while another one works: %q, %v", done, err)
		}
		looked := repairer.faulty.Calls(banktest.List)
		k := w.worker(t, "janitor", true, func(c *janitor.Config) { c.Interval = 5 * time.Minute })
		k.Start()
		done, err := repairer.Repair(t.Context(), nil)
		if err != nil || len(done) != 1 {
			t.Errorf("afterwards: %q, %v", done, err)
		}
		if looked > 0 || k.faulty.Calls(banktest.List) > 0 {
			t.Error("two looked at a time")
		}
	})
}

// A repair that cannot look everywhere does the rest and says so.
func TestRepairIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, away := newWorld(), newWorld()
		w.create(t, "c", checkpoint.Protecting)
		broken, err := providers.New(providers.Definition{ID: "broken", Bank: bank.New(nowhere{away.store}, nil)})
		if err != nil {
			t.Fatal(err)
		}
		k := w.worker(t, "repairer", true, func(c *janitor.Config) { c.Providers = append(c.Providers, broken) })
		plan, err := k.Plan(t.Context())
		if !errors.Is(err, janitor.ErrIncomplete) || len(plan) != 1 {
			t.Errorf("plan %q, %v", plan, err)
		}
		done, err := k.Repair(t.Context(), nil)
		if !errors.Is(err, janitor.ErrIncomplete) || !slices.Equal(plan, done) {
			t.Errorf("done %q, %v", done, err)
		}
	})
}

// nowhere is a bank that cannot be listed.
type nowhere struct{ bank.Plugin }

func (nowhere) List(context.Context, bank.ListOptions) ([]string, error) { return nil, errAway }

// The longest times that the options allow are times.
func TestOptions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]janitor.Config{
		"": {Interval: time.Hour, Retention: 7 * 24 * time.Hour},
		"janitor_interval = 0\noperation_retention = 1\n":            {Retention: 24 * time.Hour},
		"janitor_interval = 31536000\noperation_retention = 36500\n": {Interval: 365 * 24 * time.Hour, Retention: 36500 * 24 * time.Hour},
	} {
		file := filepath.Join(t.TempDir(), "karbor.conf")
		if err := os.WriteFile(file, []byte("[DEFAULT]\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Source{Files: []string{file}}, janitor.Options())
		if err != nil {
			t.Fatal(err)
		}
		if got := janitor.FromConfig(cfg); got.Interval != want.Interval || got.Retention != want.Retention {
			t.Errorf("%q: interval %s, retention %s", text, got.Interval, got.Retention)
		}
	}
}
