// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a journal that ends with its process, for tests and for trying
// things out.
type Memory struct {
	clock func() time.Time

	mu      sync.Mutex
	closed  bool
	entries map[string]*remembered
	owners  map[string]announced
	locks   map[string]locked
}

var _ Journal = (*Memory)(nil)

type remembered struct {
	Entry
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

// NewMemory returns an empty journal. The clock is that of the process and
// that of the store in one; nil means time.Now.
func NewMemory(clock func() time.Time) *Memory {
	if clock == nil {
		clock = time.Now
	}
	return &Memory{clock: clock, entries: map[string]*remembered{}, owners: map[string]announced{}, locks: map[string]locked{}}
}

// enter takes the lock, which leave gives back, unless there is no point in
// going on.
func (m *Memory) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

func (m *Memory) leave() { m.mu.Unlock() }

// Begin implements Journal.
func (m *Memory) Begin(ctx context.Context, e Entry) (Entry, bool, error) {
	if err := m.enter(ctx); err != nil {
		return Entry{}, false, err
	}
	defer m.leave()
	e, err := begun(e, m.clock())
	if err != nil {
		return Entry{}, false, err
	}
	if there := m.find(e.Key); there != nil {
		return there.copy(), false, nil
	}
	if there := m.entries[e.ID]; there != nil {
		return there.copy(), false, nil
	}
	if other := m.inTheWay(&e); other != nil {
		return Entry{}, false, &BusyError{Other: *other}
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

// inTheWay returns the oldest entry that forbids e.
func (m *Memory) inTheWay(e *Entry) *Entry {
	var found []Entry
	for _, o := range m.entries {
		if e.Subject != "" && o.Subject == e.Subject && o.State != Ended && (o.Exclusive || e.Exclusive) {
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

func (r *remembered) copy() Entry {
	e := r.Entry
	e.Input = slices.Clone(e.Input)
	return e
}

// claimed returns the entry if c is the right to write to it.
func (m *Memory) claimed(id string, c Claim) (*remembered, error) {
	e := m.entries[id]
	if e == nil || e.Claim != c || e.State == Ended {
		return nil, ErrClaim
	}
	return e, nil
}

// Start implements Journal.
func (m *Memory) Start(ctx context.Context, id string, c Claim) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	e, err := m.claimed(id, c)
	if err != nil {
		return err
	}
	if e.State == Queued {
		e.State, e.StartedAt = Running, moment(m.clock())
	}
	return nil
}

// Write implements Journal.
func (m *Memory) Write(ctx context.Context, id string, c Claim, marks ...Mark) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := checkMarks(id, marks); err != nil {
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

// End implements Journal.
func (m *Memory) End(ctx context.Context, id string, c Claim, o Outcome, reason string, left json.RawMessage) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := checkEnd(id, o, left); err != nil {
		return err
	}
	reason = readable(reason, maxReason)
	if e := m.entries[id]; e != nil && e.endedAs(c, o, reason) {
		return nil
	}
	e, err := m.claimed(id, c)
	if err != nil {
		return err
	}
	e.State, e.Outcome, e.Reason, e.EndedAt, e.Input = Ended, o, reason, moment(m.clock()), kept(left)
	return nil
}

// Cancel implements Journal.
func (m *Memory) Cancel(ctx context.Context, id, by string) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	by, err := checkBy(id, by)
	if err != nil {
		return err
	}
	e := m.entries[id]
	switch {
	case e == nil:
		return ErrNotFound
	case e.State == Ended:
		return ErrEnded
	case e.CancelledBy == "":
		e.CancelledBy = by
	}
	return nil
}

// Get implements Journal.
func (m *Memory) Get(ctx context.Context, id string) (*Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.entries[id]
	if e == nil {
		return nil, ErrNotFound
	}
	return new(e.copy()), nil
}

// Find implements Journal.
func (m *Memory) Find(ctx context.Context, key string) (*Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.find(key)
	if e == nil {
		return nil, ErrNotFound
	}
	return new(e.copy()), nil
}

// Marks implements Journal.
func (m *Memory) Marks(ctx context.Context, id, prefix string) ([]Mark, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	e := m.entries[id]
	if e == nil {
		return nil, nil
	}
	var marks []Mark
	for _, key := range slices.Sorted(maps.Keys(e.marks)) {
		if strings.HasPrefix(key, prefix) {
			marks = append(marks, Mark{Key: key, Value: slices.Clone(e.marks[key])})
		}
	}
	return marks, nil
}

// List implements Journal.
func (m *Memory) List(ctx context.Context, f Filter) ([]Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	var after *Entry
	if f.Marker != "" {
		marker := m.entries[f.Marker]
		if marker == nil || f.ProjectID != "" && marker.ProjectID != f.ProjectID {
			return nil, fmt.Errorf("list operations after %q: %w", f.Marker, ErrNotFound)
		}
		after = &marker.Entry
	}
	var found []Entry
	for _, e := range m.entries {
		if f.matches(&e.Entry) && (after == nil || newestFirst(*after, e.Entry) < 0) {
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
