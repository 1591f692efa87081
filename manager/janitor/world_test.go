// SPDX-License-Identifier: Apache-2.0

package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/providers"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var errAway = errors.New("the store is away")

// leases are a store of leases in memory.
type leases struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *leases) Acquire(_ context.Context, owner string, window time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[owner] = time.Now().Add(window)
	return nil
}

func (l *leases) Renew(ctx context.Context, owner string, window time.Duration) error {
	if held, _ := l.Held(ctx, owner); !held {
		return bank.ErrNotFound
	}
	return l.Acquire(ctx, owner, window)
}

func (l *leases) Held(_ context.Context, owner string) (bool, error) {
	if strings.Contains(owner, "\x00") {
		return false, errors.New("400 Bad Request")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until[owner].After(time.Now()), nil
}

func (l *leases) Release(_ context.Context, owner string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, owner)
	return nil
}

func (l *leases) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.until)
}

// rows notes which rows were closed.
type rows struct {
	mu     sync.Mutex
	down   bool
	closed []string
}

func (r *rows) CloseOperationLogs(_ context.Context, checkpointID, kind, status, info string, _ time.Time) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return 0, errAway
	}
	r.closed = append(r.closed, checkpointID+" "+kind+" "+status+" "+info)
	return 1, nil
}

func (r *rows) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.closed)
}

func (r *rows) become(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// world is a store with a bank that a dead worker has left, and the journal.
type world struct {
	store   *banktest.Memory
	leases  *leases
	journal *journaltest.Memory
	rows    *rows
	id      string                 // of the provider
	dead    *checkpoint.Collection // of an owner without a lease
}

const deadOwner = "11111111-1111-1111-1111-111111111111"

// owned is a plugin with another owner's id.
type owned struct {
	bank.Plugin
	owner string
}

func (o owned) OwnerID() string { return o.owner }

func newWorld() *world { return newWorldOf("provider") }

func newWorldOf(providerID string) *world {
	w := &world{
		id:    providerID,
		store: banktest.NewMemory(), leases: &leases{until: map[string]time.Time{}},
		journal: journaltest.NewMemory(nil), rows: &rows{},
	}
	w.dead = checkpoint.NewCollection(bank.New(owned{w.store, deadOwner}, nil), providerID, checkpoint.Options{})
	return w
}

// worker is a provider as one worker has loaded it, and that worker's janitor.
type worker struct {
	*janitor.Janitor
	provider *providers.Provider
	faulty   *banktest.Faulty
	log      *logtest.Hook
}

// worker makes one more. The janitor looks once in an hour.
func (w *world) worker(t *testing.T, name string, leased bool, edit ...func(*janitor.Config)) *worker {
	t.Helper()
	faulty := banktest.NewFaulty(owned{w.store, name})
	var lease *bank.Lease
	if leased {
		lease = bank.NewLease(w.leases, name, bank.DefaultLeaseWindows(), bank.Clock{}, nil)
	}
	p, err := providers.New(providers.Definition{ID: w.id, Bank: bank.New(faulty, lease)})
	if err != nil {
		t.Fatal(err)
	}
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	engine := operation.New(operation.Config{Journal: w.journal, Log: log})
	c := janitor.Config{
		Providers: []*providers.Provider{p}, Journal: w.journal, Judge: engine, Records: w.rows, Log: log,
		Owner: name, Interval: time.Hour, Jitter: func(d time.Duration) time.Duration { return d },
	}
	for _, e := range edit {
		e(&c)
	}
	j := janitor.New(c)
	t.Cleanup(func() {
		j.Stop(context.Background())
		engine.Stop(context.Background())
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &worker{Janitor: j, provider: p, faulty: faulty, log: hook}
}

// repairs are the lines of the log that tell of repairs.
func (k *worker) repairs() []string {
	var lines []string
	for _, e := range k.log.AllEntries() {
		if e.Level == logrus.WarnLevel {
			lines = append(lines, e.Message)
		}
	}
	return lines
}

func (w *world) create(t *testing.T, id string, status checkpoint.Status) *checkpoint.Checkpoint {
	t.Helper()
	cp, err := w.dead.Create(context.Background(), checkpoint.CreateOptions{
		ID: id, Status: status, Plan: checkpoint.Plan{ID: "plan", ProviderID: w.id, ProjectID: "project"}})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func (w *world) status(t *testing.T, id string) checkpoint.Status {
	t.Helper()
	cp, err := w.dead.Get(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return cp.Status()
}

func (w *world) entries(id string) []string {
	return slices.DeleteFunc(w.store.Below("/indices/"), func(key string) bool { return !strings.HasSuffix(key, "@"+id) })
}

func (w *world) remove(t *testing.T, key string) {
	t.Helper()
	if err := w.store.Delete(context.Background(), key); err != nil {
		t.Fatal(key, err)
	}
}

func (w *world) put(key string) {
	w.store.Set(key, banktest.Stored{Body: []byte(key[strings.LastIndexAny(key, "@/")+1:]), Serialized: bank.Raw})
}

// begin enters an operation of some worker into the journal.
func (w *world) begin(t *testing.T, checkpointID string) journal.Entry {
	t.Helper()
	e, fresh, err := w.journal.Begin(context.Background(), journal.Entry{
		ID: fmt.Sprintf("operation of %s", checkpointID), Kind: "protect", CheckpointID: checkpointID,
		Claim: journal.Claim{Owner: "other"}})
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	return e
}
