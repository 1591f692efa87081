// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// Announce implements Journal.
func (m *Memory) Announce(ctx context.Context, o Owner, hold time.Duration) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.leave()
	if err := checkTexts([2]string{"owner", o.ID}); err != nil {
		return err
	}
	now := m.clock()
	m.owners[o.ID] = announced{host: readable(o.Host, MaxText), liveUntil: now.Add(hold), at: now}
	return nil
}

// Retire implements Journal.
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

// Owners implements Journal.
func (m *Memory) Owners(ctx context.Context) ([]Owner, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.leave()
	var owners []Owner
	for id, o := range m.owners {
		owners = append(owners, Owner{ID: id, Host: o.host, Live: m.live(id)})
	}
	slices.SortFunc(owners, func(a, b Owner) int { return cmp.Compare(a.ID, b.ID) })
	return owners, nil
}

func (m *Memory) live(owner string) bool { return m.owners[owner].liveUntil.After(m.clock()) }

// Adopt implements Journal.
func (m *Memory) Adopt(ctx context.Context, id string, from Claim, owner string) (Claim, error) {
	if err := m.enter(ctx); err != nil {
		return Claim{}, err
	}
	defer m.leave()
	if err := checkTexts([2]string{"owner", owner}); err != nil {
		return Claim{}, err
	}
	e, err := m.claimed(id, from)
	if err != nil {
		return Claim{}, err
	}
	if from.Owner != owner && m.live(from.Owner) {
		return Claim{}, ErrOwnerLives
	}
	e.Claim = Claim{Owner: owner, Generation: from.Generation + 1}
	return e.Claim, nil
}

// Lock implements Journal.
func (m *Memory) Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error) {
	if err := m.enter(ctx); err != nil {
		return false, err
	}
	defer m.leave()
	if err := checkTexts([2]string{"lock", name}, [2]string{"owner", owner}); err != nil {
		return false, err
	}
	now := m.clock()
	if l, held := m.locks[name]; held && l.owner != owner && l.until.After(now) {
		return false, nil
	}
	m.locks[name] = locked{owner: owner, until: now.Add(hold)}
	return true, nil
}

// Unlock implements Journal.
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

// Prune implements Journal.
func (m *Memory) Prune(ctx context.Context, endedBefore time.Time) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.leave()
	before := len(m.entries)
	owning := map[string]bool{}
	maps.DeleteFunc(m.entries, func(_ string, e *remembered) bool {
		if e.State != Ended {
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

// Close implements Journal.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
