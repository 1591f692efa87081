// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/journal"
)

// Memory is a journal in the memory of the process.
type Memory struct {
	clock func() time.Time

	mu      sync.Mutex
	closed  bool
	entries map[string]*remembered
	owners  map[string]announced
	locks   map[string]locked
}

var _ journal.Journal = (*Memory)(nil)

type remembered struct {
	journal.Entry
	marks map[string][]byte
}

type announced struct {
	host      string
	liveUntil time.Time
	at        time.Time
}

type locked struct {
	owner string
	until time.Time
}

// NewMemory returns an empty journal. The clock is both the process's and the store's;
// nil means time.Now.
func NewMemory(clock func() time.Time) *Memory {
	if clock == nil {
		clock = time.Now
	}
	return &Memory{clock: clock, entries: map[string]*remembered{}, owners: map[string]announced{}, locks: map[string]locked{}}
}

// enter takes the lock, which leave releases, unless the context has ended or the
// journal is closed.
func (m *Memory) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return journal.ErrClosed
	}
	return nil
}

func (m *Memory) leave() { m.mu.Unlock() }

// now returns the time with the precision of journals.
func (m *Memory) now() time.Time { return m.clock().UTC().Truncate(time.Microsecond) }

// Begin implements journal.Journal.
func (m *Memory) Begin(ctx context.Context, e journal.Entry) (journal.Entry, bool, error) {
	if err := m.enter(ctx); err != nil {
		return journal.Entry{}, false, err
	}
	defer m.leave()
	e, err := e.Begun(m.clock())
	if err != nil {
		return journal.Entry{}, false, err
	}
	if there := m.find(e.Key); there != nil {
		return there.copy(), false, nil
	}
	if there := m.entries[e.ID]; there != nil {
		return there.copy(), false, nil
	}
	if other := m.inTheWay(&e); other != nil {
		return journal.Entry{}, false, &journal.BusyError{Other: *other}
	}
	m.entries[e.ID] = &remembered{Entry: e, marks: map[string][]byte{}}
	return m.entries[e.ID].copy(), true, nil
}

func (m *Memory) find(key string) *remembered {
	if key == "" {
		return nil
	}
	for _, e := range m.entries {
		if e.Key == key {
			return e
		}
	}
	return nil
}

// inTheWay returns the oldest entry that conflicts with e.
func (m *Memory) inTheWay(e *journal.Entry) *journal.Entry {
	var found []journal.Entry
	for _, o := range m.entries {
		if e.Subject != "" && o.Subject == e.Subject && o.State != journal.Ended && (o.Exclusive || e.Exclusive) {
			other := o.Entry
			other.Input = nil
			found = append(found, other)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return new(slices.MaxFunc(found, newestFirst))
}

func (r *remembered) copy() journal.Entry {
	e := r.Entry
	e.Input = slices.Clone(e.Input)
	return e
}

// claimed returns the entry if c is a valid claim on it.
func (m *Memory) claimed(id string, c journal.Claim) (*remembered, error) {
	e := m.entries[id]
	if e == nil || e.Claim != c || e.State == journal.Ended {
		return nil, journal.ErrClaim
	}
	return e, nil
}

// Start implements journal.Journal.
func (m *Memory) Start(ctx context.Context, id string, c journal.Claim) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	e, err := m.claimed(id, c)
	if err != nil {
		return err
	}
	if e.State == journal.Queued {
		e.State, e.StartedAt = journal.Running, m.now()
	}
	return nil
}

// Write implements journal.Journal.
func (m *Memory) Write(ctx context.Context, id string, c journal.Claim, marks ...journal.Mark) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := journal.CheckMarks(id, marks); err != nil {
		return err
	}
	e, err := m.claimed(id, c)
	if err != nil {
		return err
	}
	for _, mark := range marks {
		if len(mark.Value) == 0 {
			delete(e.marks, mark.Key)
		} else {
			e.marks[mark.Key] = slices.Clone(mark.Value)
		}
	}
	return nil
}

// End implements journal.Journal.
func (m *Memory) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string, left json.RawMessage) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := journal.CheckEnd(id, o, left); err != nil {
		return err
	}
	reason = journal.Readable(reason, journal.MaxReason)
	if e := m.entries[id]; e != nil && e.Claim == c && e.Outcome == o && e.Reason == reason {
		return nil
	}
	e, err := m.claimed(id, c)
	if err != nil {
		return err
	}
	e.State, e.Outcome, e.Reason, e.EndedAt, e.Input = journal.Ended, o, reason, m.now(), slices.Clone(left)
	return nil
}

// Cancel implements journal.Journal.
func (m *Memory) Cancel(ctx context.Context, id, by string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	by, err := journal.CheckBy(id, by)
	if err != nil {
		return err
	}
	e := m.entries[id]
	switch {
	case e == nil:
		return journal.ErrNotFound
	case e.State == journal.Ended:
		return journal.ErrEnded
	case e.CancelledBy == "":
		e.CancelledBy = by
	}
	return nil
}

// Get implements journal.Journal.
func (m *Memory) Get(ctx context.Context, id string) (*journal.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.entries[id]
	if e == nil {
		return nil, journal.ErrNotFound
	}
	return new(e.copy()), nil
}

// Find implements journal.Journal.
func (m *Memory) Find(ctx context.Context, key string) (*journal.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.find(key)
	if e == nil {
		return nil, journal.ErrNotFound
	}
	return new(e.copy()), nil
}

// Marks implements journal.Journal.
func (m *Memory) Marks(ctx context.Context, id, prefix string) ([]journal.Mark, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.entries[id]
	if e == nil {
		return nil, nil
	}
	var marks []journal.Mark
	for _, key := range slices.Sorted(maps.Keys(e.marks)) {
		if strings.HasPrefix(key, prefix) {
			marks = append(marks, journal.Mark{Key: key, Value: slices.Clone(e.marks[key])})
		}
	}
	return marks, nil
}

// List implements journal.Journal.
func (m *Memory) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	var after *journal.Entry
	if f.Marker != "" {
		marker := m.entries[f.Marker]
		if marker == nil || f.ProjectID != "" && marker.ProjectID != f.ProjectID {
			return nil, fmt.Errorf("listing operations after %q: %w", f.Marker, journal.ErrNotFound)
		}
		after = &marker.Entry
	}
	var found []journal.Entry
	for _, e := range m.entries {
		if matches(&f, &e.Entry) && (after == nil || newestFirst(*after, e.Entry) < 0) {
			entry := e.Entry
			entry.Input = nil
			found = append(found, entry)
		}
	}
	slices.SortFunc(found, newestFirst)
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[:f.Limit]
	}
	return found, nil
}

// Announce implements journal.Journal.
func (m *Memory) Announce(ctx context.Context, o journal.Owner, hold time.Duration) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := journal.CheckTexts([2]string{"owner", o.ID}); err != nil {
		return err
	}
	now := m.clock()
	m.owners[o.ID] = announced{host: journal.Readable(o.Host, journal.MaxText), liveUntil: now.Add(hold), at: m.now()}
	return nil
}

// Retire implements journal.Journal.
func (m *Memory) Retire(ctx context.Context, owner string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if o, known := m.owners[owner]; known {
		o.liveUntil = time.Time{}
		m.owners[owner] = o
	}
	return nil
}

// Owners implements journal.Journal.
func (m *Memory) Owners(ctx context.Context) ([]journal.Owner, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	var owners []journal.Owner
	for id, o := range m.owners {
		owners = append(owners, journal.Owner{ID: id, Host: o.host, Live: m.live(id), Retired: o.liveUntil.IsZero(), Announced: o.at})
	}
	slices.SortFunc(owners, func(a, b journal.Owner) int { return cmp.Compare(a.ID, b.ID) })
	return owners, nil
}

func (m *Memory) live(owner string) bool { return m.owners[owner].liveUntil.After(m.clock()) }

// Adopt implements journal.Journal.
func (m *Memory) Adopt(ctx context.Context, id string, from journal.Claim, owner string) (journal.Claim, error) {
	if err := m.enter(ctx); err != nil {
		return journal.Claim{}, err
	}
	defer m.leave()
	if err := journal.CheckTexts([2]string{"owner", owner}); err != nil {
		return journal.Claim{}, err
	}
	e, err := m.claimed(id, from)
	if err != nil {
		return journal.Claim{}, err
	}
	if from.Owner != owner && m.live(from.Owner) {
		return journal.Claim{}, journal.ErrOwnerLives
	}
	e.Claim = journal.Claim{Owner: owner, Generation: from.Generation + 1}
	return e.Claim, nil
}

// Lock implements journal.Journal.
func (m *Memory) Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error) {
	if err := m.enter(ctx); err != nil {
		return false, err
	}
	defer m.leave()
	if err := journal.CheckTexts([2]string{"lock", name}, [2]string{"owner", owner}); err != nil {
		return false, err
	}
	now := m.clock()
	if l, held := m.locks[name]; held && l.owner != owner && l.until.After(now) {
		return false, nil
	}
	m.locks[name] = locked{owner: owner, until: now.Add(hold)}
	return true, nil
}

// Unlock implements journal.Journal.
func (m *Memory) Unlock(ctx context.Context, name, owner string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if m.locks[name].owner == owner {
		delete(m.locks, name)
	}
	return nil
}

// Prune implements journal.Journal.
func (m *Memory) Prune(ctx context.Context, endedBefore time.Time) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.leave()
	before := len(m.entries)
	owning := map[string]bool{}
	maps.DeleteFunc(m.entries, func(_ string, e *remembered) bool {
		if e.State != journal.Ended {
			owning[e.Owner] = true
			return false
		}
		return e.EndedAt.Before(endedBefore)
	})
	maps.DeleteFunc(m.owners, func(id string, o announced) bool {
		return !m.live(id) && !owning[id] && o.at.Before(endedBefore)
	})
	now := m.clock()
	maps.DeleteFunc(m.locks, func(_ string, l locked) bool { return !l.until.After(now) && l.until.Before(endedBefore) })
	return before - len(m.entries), nil
}

// Close implements journal.Journal.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// newestFirst compares two entries for listings, which begin with the newest.
func newestFirst(a, b journal.Entry) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

// matches reports whether a filter selects an entry.
func matches(f *journal.Filter, e *journal.Entry) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return same(f.ID, e.ID) && same(f.Subject, e.Subject) && same(f.ProjectID, e.ProjectID) && same(f.ProviderID, e.ProviderID) && same(f.CheckpointID, e.CheckpointID) &&
		same(f.Owner, e.Owner) && same(f.Kind, e.Kind) &&
		(!f.Unfinished || e.State != journal.Ended) && (!f.Cancelling || e.CancelledBy != "")
}
