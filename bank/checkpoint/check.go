// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// Kind says what is wrong with a part of a bank.
type Kind string

// The kinds of issues.
const (
	// Unfinished is a checkpoint whose status says that an operation is working on it
	// (Status.Unfinished). The bank alone cannot tell whether such an operation exists.
	Unfinished Kind = "unfinished"
	// StrayEntry is an index entry of a checkpoint that was deleted.
	StrayEntry Kind = "stray entry"
	// OrphanedEntry is an index entry without an index.json.
	OrphanedEntry Kind = "orphaned entry"
	// MissingEntry is an index entry that a checkpoint ought to have.
	MissingEntry Kind = "missing entry"
	// OrphanedData is resource data, or remarks, without an index.json.
	OrphanedData Kind = "orphaned data"
	// StrayData is resource data, or remarks, of a deleted checkpoint. The statuses of resources do
	// not count, since a deletion leaves them.
	StrayData Kind = "stray data"
	// Tombstone is the remainder of a deleted checkpoint: index.json and the statuses of its
	// resources. This is the normal state after a deletion. The caller decides whether the
	// tombstone is old enough to be removed.
	Tombstone Kind = "tombstone"
)

// Orphan reports whether the issue rests only on the absence of an index.json. The file may come
// back: a store may hold it in quarantine, or answer in part.
func (k Kind) Orphan() bool { return k == OrphanedEntry || k == OrphanedData }

// Issue is one problem that a check found. Issues are comparable: the same problem found twice
// gives equal values.
type Issue struct {
	Kind    Kind
	ID      string // of the checkpoint
	Key     string // of the index entry, in the bank; otherwise empty
	Status  Status // of an unfinished checkpoint; otherwise empty
	Owner   string // of an unfinished checkpoint; otherwise empty
	Created int64  // creation time of a tombstone's checkpoint, in seconds since 1970; otherwise 0
}

// Sizes of batches.
const (
	entriesPage = 5000 // keys of one index page
	checkedIDs  = 256
)

// Check examines all checkpoints of the provider and all entries of the indices, and calls visit,
// from one goroutine, for each possible issue. An issue may turn out to be none: an operation may
// be at work, or the bank may lag behind. Confirm reports whether an issue persists, and Repair
// fixes it.
//
// Data and entries without an index.json have no known owner, so each provider that shares the bank
// reports them. Check ignores an index.json that is broken or cannot be read, and everything that
// belongs to it. Check returns the first error of visit, and errors of the bank that concern more
// than a single part of it. It holds the keys of the indices in memory.
func (c *Collection) Check(ctx context.Context, visit func(Issue) error) error {
	s := &check{Collection: c, visit: visit, entries: map[string][]string{}, counts: map[Status]int{},
		versions: map[string]string{}, more: map[string]bool{}}
	// Read the entries first. A checkpoint gets its index.json before its entries and never loses
	// it, so a checkpoint created meanwhile shows no stray entries.
	if err := s.list(ctx); err != nil {
		return err
	}
	if err := s.walk(ctx, ""); err != nil {
		return err
	}
	var left []string // ids that a lagging listing does not have yet
	for id := range s.entries {
		left = append(left, id)
		if len(left) == checkedIDs {
			if err := s.judge(ctx, left); err != nil {
				return err
			}
			left = left[:0]
		}
	}
	if err := s.judge(ctx, left); err != nil {
		return err
	}
	c.counts.Store(&s.counts)
	return nil
}

// Counts returns the number of checkpoints by status as of the last complete Check, or nil if none
// has completed.
func (c *Collection) Counts() map[Status]int {
	if counts := c.counts.Load(); counts != nil {
		return maps.Clone(*counts)
	}
	return nil
}

type check struct {
	*Collection
	visit   func(Issue) error
	entries map[string][]string // keys of entries by id, for ids not yet judged
	counts  map[Status]int

	versions map[string]string // of index.json, by full key
	more     map[string]bool   // ids that have more objects than an index.json
}

// list reads the keys of the indices and skips keys of any other shape.
func (s *check) list(ctx context.Context) error {
	for _, index := range []struct {
		prefix string
		named  bool // one more part follows the prefix
		shape  shape
	}{
		{"by-provider/" + s.providerID + "/", false, shape{project: true}},
		{"by-date/", true, shape{project: true}},
		{"by-plan/", true, shape{project: true, date: true}},
	} {
		for marker := ""; ; {
			keys, err := s.indices.List(ctx, bank.ListOptions{Prefix: index.prefix, Marker: marker, Limit: entriesPage})
			if err := s.skipPartial(err); unusable(err) {
				// Entries in an unreadable place do not count as missing: Confirm reads each entry.
				s.options.Log.Warn(err)
				break
			} else if err != nil {
				return err
			}
			for _, key := range keys {
				rest := key[len(index.prefix):]
				if index.named {
					_, rest, _ = strings.Cut(rest, "/")
				}
				if e, ok := index.shape.parse(rest, ""); ok {
					s.entries[e.id] = append(s.entries[e.id], key)
				}
			}
			if len(keys) < entriesPage {
				break
			}
			marker = keys[len(keys)-1]
		}
	}
	return nil
}

// walk visits the checkpoints whose ids begin with prefix. It reads two keys per checkpoint,
// however many objects the checkpoint has (see rollUp).
func (s *check) walk(ctx context.Context, prefix string) error {
	var ids []string
	o := bank.ListOptions{Prefix: prefix, Limit: entriesPage, Delimiter: rollUp, Versions: s.versions}
	for {
		keys, err := s.checkpoints.List(ctx, o)
		if err := s.skipPartial(err); err != nil {
			return err
		}
		for _, key := range keys {
			id, rest, below := strings.Cut(key, "/")
			switch {
			case !below && strings.HasSuffix(key[len(prefix):], rollUp):
				// These ids are not UUIDs.
				if err := s.walk(ctx, key); err != nil {
					return err
				}
			case below && validID(id):
				if rest == rollUp {
					s.more[id] = true
				}
				if len(ids) == 0 || ids[len(ids)-1] != id {
					ids = append(ids, id)
				}
			}
		}
		if len(keys) < entriesPage {
			return s.judge(ctx, ids)
		}
		o.Marker = keys[len(keys)-1]
		if whole := len(ids) - 1; whole >= checkedIDs { // keys of the last id may follow
			if err := s.judge(ctx, ids[:whole]); err != nil {
				return err
			}
			ids = ids[whole:]
		}
	}
}

// judge examines checkpoints and reports their issues, in the order of ids.
func (s *check) judge(ctx context.Context, ids []string) error {
	found, missing := make([]*Listed, len(ids)), make([]bool, len(ids))
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(s.options.MaxReads)
	for i, id := range ids {
		reading.Go(func() (err error) {
			found[i], err = s.look(readCtx, id, s.versionOf(s.versions, id))
			switch {
			case errors.Is(err, bank.ErrNotFound):
				missing[i] = true
			case unusable(err):
				s.passOver(id, err)
			default:
				return err
			}
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		entries := s.entries[id]
		delete(s.entries, id)
		var err error
		switch l := found[i]; {
		case missing[i]:
			err = s.withoutIndex(ctx, id, entries)
		case l != nil && l.fields.provider == s.providerID:
			err = s.one(ctx, l, entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passOver logs a checkpoint that is unusable.
func (c *Collection) passOver(id string, err error) {
	c.options.Log.WithError(err).WithField("checkpoint_id", id).Warn("a checkpoint cannot be looked at")
}

// own reads a checkpoint. It returns nil if the checkpoint is unusable or belongs to another
// provider.
func (c *Collection) own(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.get(ctx, id)
	if unusable(err) {
		c.passOver(id, err)
		return nil, nil
	}
	if err != nil || cp.fields.provider != c.providerID {
		return nil, err
	}
	return cp, nil
}

func (s *check) withoutIndex(ctx context.Context, id string, entries []string) error {
	if err := s.each(OrphanedEntry, id, entries); err != nil {
		return err
	}
	if there, err := s.hasData(ctx, id); err != nil || !there {
		return err
	}
	return s.visit(Issue{Kind: OrphanedData, ID: id})
}

// stray looks for leftover data of a deleted checkpoint. It remembers a checkpoint without any and
// does not look again.
func (s *check) stray(ctx context.Context, l *Listed) error {
	if !s.more[l.fields.id] || l.clean.Load() {
		return nil
	}
	there, err := s.hasStray(ctx, l.fields.id)
	switch {
	case unusable(err):
		s.passOver(l.fields.id, err)
	case err != nil:
		return err
	case there:
		return s.visit(Issue{Kind: StrayData, ID: l.fields.id})
	default:
		l.clean.Store(true)
	}
	return nil
}

func (s *check) each(kind Kind, id string, entries []string) error {
	for _, key := range entries {
		if err := s.visit(Issue{Kind: kind, ID: id, Key: s.indices.Path() + key}); err != nil {
			return err
		}
	}
	return nil
}

func (s *check) one(ctx context.Context, l *Listed, entries []string) error {
	f := &l.fields
	s.counts[f.status]++
	if f.status == Deleted {
		if err := s.stray(ctx, l); err != nil {
			return err
		}
		if len(entries) == 0 {
			return s.visit(Issue{Kind: Tombstone, ID: f.id, Created: f.timestamp})
		}
		return s.each(StrayEntry, f.id, entries)
	}
	if f.status.Unfinished() {
		if err := s.visit(Issue{Kind: Unfinished, ID: f.id, Status: f.status, Owner: f.owner}); err != nil {
			return err
		}
	}
	there := map[string]bool{}
	for _, key := range entries {
		there[key] = true
	}
	for _, key := range l.keys {
		if there[key] {
			continue
		}
		if err := s.visit(Issue{Kind: MissingEntry, ID: f.id, Key: s.indices.Path() + key}); err != nil {
			return err
		}
	}
	return nil
}

// OwnerID identifies this instance of the bank, and is the owner of checkpoints that it creates.
func (c *Collection) OwnerID() string { return c.bank.OwnerID() }

// Ended returns the status that a checkpoint in status s gets when nobody will resume its
// operation.
func (s Status) Ended() Status {
	switch s {
	case Deleting:
		return ErrorDeleting
	case Protecting, WaitCopying, Copying:
		return Error
	}
	return s
}

// dataFolder holds the data of a checkpoint's resources.
const dataFolder = "resource-data/"

func dataPath(id string) string { return id + "/" + dataFolder }

// hasData reports whether a checkpoint has resource data or remarks.
func (c *Collection) hasData(ctx context.Context, id string) (bool, error) {
	for _, prefix := range []string{dataPath(id), remarksPath(id)} {
		keys, err := c.checkpoints.List(ctx, bank.ListOptions{Prefix: prefix, Limit: 1})
		if err := c.skipPartial(err); err != nil || len(keys) > 0 {
			return len(keys) > 0, err
		}
	}
	return false, nil
}

// hasStray reports whether a checkpoint has objects that a deletion removes.
func (c *Collection) hasStray(ctx context.Context, id string) (bool, error) {
	o := bank.ListOptions{Prefix: id + "/" + rollUp, Limit: removedData}
	for {
		keys, err := c.checkpoints.List(ctx, o)
		if err := c.skipPartial(err); err != nil {
			return false, err
		}
		if slices.ContainsFunc(keys, func(key string) bool { return isStray(id, key) }) {
			return true, nil
		}
		if len(keys) < o.Limit {
			return false, nil
		}
		o.Marker = keys[len(keys)-1]
	}
}

// isStray reports whether a deletion removes the object with this key, which is relative to the
// section of the checkpoints. A deletion removes everything but index.json and the statuses of the
// resources.
func isStray(id, key string) bool {
	rest := strings.TrimPrefix(key, id+"/")
	return rest == remarksKey || strings.HasPrefix(rest, dataFolder) && !strings.HasSuffix(rest, "/status")
}

// Confirm reads the bank again and reports whether an issue persists. It returns errors of the
// bank.
func (c *Collection) Confirm(ctx context.Context, f Issue) (bool, error) {
	cp, err := c.own(ctx, f.ID)
	missing := errors.Is(err, bank.ErrNotFound)
	if err != nil && !missing {
		return false, err
	}
	key := strings.TrimPrefix(f.Key, c.indices.Path())
	if cp == nil {
		switch {
		case missing && f.Kind == OrphanedEntry:
			return c.entryIs(ctx, key)
		case missing && f.Kind == OrphanedData:
			return c.hasData(ctx, f.ID)
		}
		return false, nil
	}
	now := cp.read()
	switch f.Kind {
	case Unfinished:
		return now.status == f.Status && now.owner == f.Owner, nil
	case Tombstone:
		return now.status == Deleted, nil
	case StrayEntry:
		if now.status == Deleted {
			return c.entryIs(ctx, key)
		}
	case StrayData:
		if now.status == Deleted {
			return c.hasStray(ctx, f.ID)
		}
	case MissingEntry:
		if now.status != Deleted && slices.Contains(indexKeys(now), key) {
			there, err := c.entryIs(ctx, key)
			return err == nil && !there, err
		}
	}
	return false, nil
}

// entryIs reports whether an index entry exists. An entry that cannot be read exists: its key alone
// carries the information.
func (c *Collection) entryIs(ctx context.Context, key string) (bool, error) {
	_, err := c.indices.GetText(ctx, key)
	switch {
	case errors.Is(err, bank.ErrNotFound):
		return false, nil
	case errors.Is(err, bank.ErrUnusable):
		return true, nil
	}
	return err == nil, err
}

// Repair fixes an issue, if it persists, and reports whether it did. An unfinished checkpoint gets
// the status Ended, stray and orphaned entries and data are removed, a missing entry is written,
// and a tombstone is removed entirely. The caller decides whether this instance may do so. Repair
// is idempotent.
func (c *Collection) Repair(ctx context.Context, f Issue) (bool, error) {
	if still, err := c.Confirm(ctx, f); err != nil || !still {
		return false, err
	}
	var err error
	key := strings.TrimPrefix(f.Key, c.indices.Path())
	switch f.Kind {
	case Unfinished:
		err = c.endUnfinished(ctx, f)
	case StrayEntry, OrphanedEntry:
		err = c.indices.Delete(ctx, key)
	case MissingEntry:
		err = c.indices.PutText(ctx, key, f.ID)
	case OrphanedData, StrayData:
		return c.removeData(ctx, f)
	case Tombstone:
		err = c.removeTombstone(ctx, f)
	}
	if errors.Is(err, bank.ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTransition) {
		return false, nil // another worker was first
	}
	return err == nil, err
}

func (c *Collection) endUnfinished(ctx context.Context, f Issue) error {
	cp, err := c.own(ctx, f.ID)
	if err != nil {
		return err
	}
	if cp == nil || cp.Status() != f.Status || cp.OwnerID() != f.Owner {
		return fmt.Errorf("checkpoint %s: %w", f.ID, ErrConflict)
	}
	if err := cp.SetStatus(f.Status.Ended()); err != nil {
		return err
	}
	return cp.Commit(ctx)
}

// removeTombstone removes index.json last, since without it the owner of the other objects would be
// unknown.
func (c *Collection) removeTombstone(ctx context.Context, f Issue) error {
	cp, err := c.own(ctx, f.ID)
	if err != nil {
		return err
	}
	if cp == nil || cp.Status() != Deleted {
		return fmt.Errorf("checkpoint %s: %w", f.ID, ErrConflict)
	}
	if _, err := c.removeData(ctx, f); err != nil {
		return err
	}
	if err := c.dropIndices(ctx, cp.read()); err != nil {
		return err
	}
	return c.remove(ctx, f.ID)
}

// removedData is the number of objects to remove before confirming the issue again.
const removedData = 200

// removeData removes the data and the remarks of a checkpoint without an index.json. It goes on
// past objects that cannot be removed, and returns an error for them at the end.
func (c *Collection) removeData(ctx context.Context, f Issue) (removed bool, failed error) {
	for _, prefix := range []string{dataPath(f.ID), remarksPath(f.ID)} {
		more, err := c.removeBelow(ctx, f, prefix)
		removed = removed || more
		if err == nil {
			continue
		}
		if failed = join(failed, err); !errors.Is(err, bank.ErrUnusable) {
			break
		}
	}
	return removed, failed
}

func (c *Collection) removeBelow(ctx context.Context, f Issue, prefix string) (removed bool, failed error) {
	for marker := ""; ; {
		keys, err := c.checkpoints.List(ctx, bank.ListOptions{Prefix: prefix, Marker: marker, Limit: removedData})
		if err := c.skipPartial(err); err != nil {
			return removed, join(failed, err)
		}
		for _, key := range keys {
			if marker = key; f.Kind == StrayData && !isStray(f.ID, key) {
				continue
			}
			err := c.checkpoints.Delete(ctx, key)
			switch {
			case errors.Is(err, bank.ErrNotFound): // the listing lags
			case errors.Is(err, bank.ErrUnusable):
				failed = err
			case err != nil:
				return removed, err
			default:
				removed = true
			}
		}
		if len(keys) < removedData {
			return removed, failed
		}
		if still, err := c.Confirm(ctx, f); err != nil || !still {
			return removed, join(failed, err)
		}
	}
}
