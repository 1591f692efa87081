// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
)

// mortalJournal is the journal as a process sees it. It writes down which hooks
// are on record as having ended.
type mortalJournal struct {
	journal.Journal
	life *life
}

func (m mortalJournal) Begin(ctx context.Context, e journal.Entry) (kept journal.Entry, fresh bool, err error) {
	err = m.life.call("begin an entry", func() error {
		kept, fresh, err = m.Journal.Begin(ctx, e)
		if fresh {
			m.life.world.mu.Lock()
			defer m.life.world.mu.Unlock()
			m.life.world.open[e.ID] = true
		}
		return err
	})
	return kept, fresh, err
}

func (m mortalJournal) Start(ctx context.Context, id string, c journal.Claim) error {
	return m.life.hiccup("start an entry", m.life.before("start an entry", func() error { return m.Journal.Start(ctx, id, c) }))
}

func (m mortalJournal) Write(ctx context.Context, id string, c journal.Claim, marks ...journal.Mark) error {
	return m.life.hiccup("write marks", m.life.before("write marks", func() error {
		err := m.Journal.Write(ctx, id, c, marks...)
		if err == nil {
			m.life.world.recorded(id, marks)
		}
		return err
	}))
}

func (w *world) recorded(id string, marks []journal.Mark) {
	entry, err := w.journal.Get(context.Background(), id)
	if err != nil {
		w.complain("%v", err)
		return
	}
	for _, mark := range marks {
		if !strings.HasPrefix(mark.Key, progress.ResourceMarks) {
			continue
		}
		var p progress.Resource
		if err := json.Unmarshal(mark.Value, &p); err != nil {
			w.complain("mark %s: %v", mark.Value, err)
			continue
		}
		w.mu.Lock()
		for _, hook := range p.Done {
			s := step{entry.CheckpointID, resource.Key{Type: p.Type, ID: p.ID}, hook}
			h := w.history(s)
			if h.recorded = true; !h.ended {
				w.wrong = append(w.wrong, s.String()+" is on record as done and was not")
			}
		}
		w.mu.Unlock()
	}
}

func (m mortalJournal) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string, left json.RawMessage) error {
	w := m.life.world
	return m.life.hiccup("end an entry", func() error {
		err := m.Journal.End(ctx, id, c, o, reason, left)
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		was := w.isOver()
		if w.open[id] = false; !was && w.isOver() {
			close(w.closed)
		}
		return nil
	})
}

func (m mortalJournal) Cancel(ctx context.Context, id, by string) error {
	return m.life.call("cancel an entry", func() error {
		err := m.Journal.Cancel(ctx, id, by)
		if err == nil {
			m.life.world.mu.Lock()
			defer m.life.world.mu.Unlock()
			m.life.world.cancelled = true
		}
		return err
	})
}

func (m mortalJournal) Get(ctx context.Context, id string) (e *journal.Entry, err error) {
	err = m.life.call("get an entry", func() error { e, err = m.Journal.Get(ctx, id); return err })
	return e, err
}

func (m mortalJournal) Find(ctx context.Context, key string) (e *journal.Entry, err error) {
	err = m.life.call("find an entry", func() error { e, err = m.Journal.Find(ctx, key); return err })
	return e, err
}

func (m mortalJournal) Marks(ctx context.Context, id, prefix string) (marks []journal.Mark, err error) {
	err = m.life.call("read marks", func() error { marks, err = m.Journal.Marks(ctx, id, prefix); return err })
	return marks, err
}

// mortalBank is the bank as a process sees it.
type mortalBank struct {
	*banktest.Memory
	life *life
}

func (m mortalBank) Put(ctx context.Context, key string, u bank.Upload) error {
	return m.life.write("put "+key, func() error { return m.Memory.Put(ctx, key, u) })
}

func (m mortalBank) Get(ctx context.Context, key string) (o *bank.Object, err error) {
	err = m.life.call("get "+key, func() error { o, err = m.Memory.Get(ctx, key); return err })
	return o, err
}

func (m mortalBank) List(ctx context.Context, o bank.ListOptions) (keys []string, err error) {
	err = m.life.call("list "+o.Prefix, func() error { keys, err = m.Memory.List(ctx, o); return err })
	return keys, err
}

func (m mortalBank) Delete(ctx context.Context, key string) error {
	return m.life.write("delete "+key, func() error { return m.Memory.Delete(ctx, key) })
}

// mortalRecords are the tables as a process sees them.
type mortalRecords struct {
	*memoryRecords
	life *life
}

func (m mortalRecords) CreateOperationLog(ctx context.Context, row *database.OperationLog) (id string, err error) {
	err = m.life.hiccup("create operation log", m.life.before("create operation log", func() error { id, err = m.memoryRecords.CreateOperationLog(ctx, row); return err }))
	return id, err
}

func (m mortalRecords) UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error {
	return m.life.hiccup("update operation log", m.life.before("update operation log", func() error {
		if u.EndedAt != nil && u.ErrorInfo == nil {
			m.life.world.mu.Lock()
			m.life.world.told[id] = true
			m.life.world.mu.Unlock()
		}
		return m.memoryRecords.UpdateOperationLog(ctx, id, u)
	}))
}

func (m mortalRecords) Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error {
	return m.life.hiccup("update record", m.life.before("update record", func() error { return m.memoryRecords.Update(ctx, kind, id, u) }))
}

func (m mortalRecords) Get(ctx context.Context, kind database.RecordKind, id string) (r *database.Record, err error) {
	err = m.life.call("read record", func() error { r, err = m.memoryRecords.Get(ctx, kind, id); return err })
	return r, err
}

// leaseTable is a store of leases.
type leaseTable struct {
	mu      sync.Mutex
	expires map[string]time.Time
}

func (t *leaseTable) set(owner string, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expires[owner] = expires
}

// held are the owners who have a lease.
func (t *leaseTable) held() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var owners []string
	for owner, expires := range t.expires {
		if time.Now().Before(expires) {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	return owners
}

// mortalLeases is the store of leases as a process sees it.
type mortalLeases struct {
	life  *life
	table *leaseTable
}

func (m mortalLeases) Acquire(_ context.Context, owner string, window time.Duration) error {
	return m.life.call("acquire the lease", func() error { m.table.set(owner, time.Now().Add(window)); return nil })
}

func (m mortalLeases) Renew(ctx context.Context, owner string, window time.Duration) error {
	if held, _ := m.Held(ctx, owner); !held {
		return bank.ErrNotFound
	}
	return m.Acquire(ctx, owner, window)
}

func (m mortalLeases) Held(_ context.Context, owner string) (bool, error) {
	return slices.Contains(m.table.held(), owner), nil
}

func (m mortalLeases) Release(_ context.Context, owner string) error {
	return m.life.call("release the lease", func() error { m.table.set(owner, time.Time{}); return nil })
}
