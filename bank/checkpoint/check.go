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

// Kind is what may be wrong with a part of a bank.
type Kind string

// The flaws.
const (
	// Unfinished is a checkpoint in a status in which an operation is at work on it
	// (Status.Unfinished). Whether there is one the bank does not tell.
	Unfinished Kind = "unended"
	// StrayEntry is an index entry of a checkpoint that was deleted.
	StrayEntry Kind = "stray entry"
	// OrphanedEntry is an index entry without an index.json.
	OrphanedEntry Kind = "orphaned entry"
	// MissingEntry is an index entry that a checkpoint ought to have.
	MissingEntry Kind = "missing entry"
	// OrphanedData are resource data, or remarks, without an index.json.
	OrphanedData Kind = "orphaned data"
	// StrayData are resource data, or remarks, of a checkpoint that was deleted. Statuses of
	// resources are none: a deletion leaves them.
	StrayData Kind = "stray data"
	// Tombstone is what is left of a checkpoint that was deleted: index.json, and what tells of
	// its resources. It is right so. Whether it has been there for long enough is the caller's to decide.
	Tombstone Kind = "tombstone"
)

// Orphan reports whether the flaw rests on the absence of an index.json alone, which
// may come back: a store may have it in quarantine, or answer in part.
func (k Kind) Orphan() bool { return k == OrphanedEntry || k == OrphanedData }

// Issue is one flaw. Two findings of the same are equal.
type Issue struct {
	Kind    Kind
	ID      string // of the checkpoint
	Key     string // of the index entry, in the bank; else empty
	Status  Status // of an unended checkpoint; else empty
	Owner   string // likewise
	Created int64  // when the checkpoint of a tombstone was made, in seconds since 1970; else 0
}

// What is read at a time.
const (
	entriesPage = 5000 // of an index
	checkedIDs  = 256
)

// Check looks at all of the provider's checkpoints and all entries of the
// indices and calls visit, from one goroutine, for what looks wrong. Each may
// be quite right: an operation may be at work, the bank may lag behind. Confirm
// tells whether a finding is still so, and Repair ends it.
//
// Data and entries without an index.json belong to nobody who could be named:
// each provider that shares the bank finds them. A broken index.json, or one that
// cannot be read, is left as it is, and so is all that belongs to it. It fails with
// the errors of the bank that are not about a part of it, and that of visit. It holds the keys of the indices in memory.
func (c *Collection) Check(ctx context.Context, visit func(Issue) error) error {
	s := &check{Collection: c, visit: visit, entries: map[string][]string{}, counts: map[Status]int{},
		versions: map[string]string{}, more: map[string]bool{}}
	// The entries first: a checkpoint has its index.json before them, and loses
	// it never, so that what is created meanwhile has no stray ones.
	if err := s.list(ctx); err != nil {
		return err
	}
	if err := s.walk(ctx, ""); err != nil {
		return err
	}
	var left []string // what a listing that lags does not have yet
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

// Counts returns how many checkpoints of each status the provider had at the last Check
// that came to its end; nil before.
func (c *Collection) Counts() map[Status]int {
	if counts := c.counts.Load(); counts != nil {
		return maps.Clone(*counts)
	}
	return nil
}

type check struct {
	*Collection
	visit   func(Issue) error
	entries map[string][]string // keys of the entries of ids not yet judged
	counts  map[Status]int

	versions map[string]string // of index.json, by its whole key
	more     map[string]bool   // ids of those that have more than an index.json
}

// list reads the keys of the indices. Keys of other shapes are none of ours.
func (s *check) list(ctx context.Context) error {
	for _, index := range []struct {
		prefix string
		named  bool // another part follows the prefix
		shape  shape
	}{
		{"by-provider/" + s.providerID + "/", false, shape{project: true}},
		{"by-date/", true, shape{project: true}},
		{"by-plan/", true, shape{project: true, date: true}},
	} {
		for marker := ""; ; {
			keys, err := s.indices.List(ctx, bank.ListOptions{Prefix: index.prefix, Marker: marker, Limit: entriesPage})
			if err := s.goOn(err); unusable(err) {
				// What it holds is not missing: Confirm reads each entry.
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

// walk goes from checkpoint to checkpoint, whose ids begin with prefix, with two keys of each,
// however many objects it has: see rollUp.
func (s *check) walk(ctx context.Context, prefix string) error {
	var ids []string
	o := bank.ListOptions{Prefix: prefix, Limit: entriesPage, Delimiter: rollUp, Versions: s.versions}
	for {
		keys, err := s.checkpoints.List(ctx, o)
		if err := s.goOn(err); err != nil {
			return err
		}
		for _, key := range keys {
			id, rest, below := strings.Cut(key, "/")
			switch {
			case !below && strings.HasSuffix(key[len(prefix):], rollUp):
				// Ids that are no UUIDs.
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
		if whole := len(ids) - 1; whole >= checkedIDs { // the last one may go on
			if err := s.judge(ctx, ids[:whole]); err != nil {
				return err
			}
			ids = ids[whole:]
		}
	}
}

// judge looks at checkpoints and tells what is wrong with them, in their order.
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

// passOver reports a checkpoint that is unusable.
func (c *Collection) passOver(id string, err error) {
	c.options.Log.WithError(err).WithField("checkpoint_id", id).Warn("a checkpoint cannot be looked at")
}

// own reads a checkpoint. It is nil when it is another provider's, or unusable.
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

// stray looks for data of a deleted checkpoint, once for each that has none.
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

// OwnerID identifies this instance of the bank: checkpoints that are created
// now have it.
func (c *Collection) OwnerID() string { return c.bank.OwnerID() }

// Ended is the status of a checkpoint whose operation, which left it in status
// s, nobody will go on with.
func (s Status) Ended() Status {
	switch s {
	case Deleting:
		return ErrorDeleting
	case Protecting, WaitCopying, Copying:
		return Error
	}
	return s
}

// dataFolder is where the data of a checkpoint's resources are, and dataPath where their
// keys begin.
const dataFolder = "resource-data/"

func dataPath(id string) string { return id + "/" + dataFolder }

// hasData reports whether there is anything of a checkpoint beside its index.json.
func (c *Collection) hasData(ctx context.Context, id string) (bool, error) {
	for _, prefix := range []string{dataPath(id), remarksPath(id)} {
		keys, err := c.checkpoints.List(ctx, bank.ListOptions{Prefix: prefix, Limit: 1})
		if err := c.goOn(err); err != nil || len(keys) > 0 {
			return len(keys) > 0, err
		}
	}
	return false, nil
}

// hasStray reports whether there is anything of a checkpoint that a deletion removes.
func (c *Collection) hasStray(ctx context.Context, id string) (bool, error) {
	o := bank.ListOptions{Prefix: id + "/" + rollUp, Limit: removedData}
	for {
		keys, err := c.checkpoints.List(ctx, o)
		if err := c.goOn(err); err != nil {
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

// isStray reports whether a deletion removes an object of a checkpoint, by its key in the
// section of the checkpoints: all but index.json and the statuses of the resources.
func isStray(id, key string) bool {
	rest := strings.TrimPrefix(key, id+"/")
	return rest == remarksKey || strings.HasPrefix(rest, dataFolder) && !strings.HasSuffix(rest, "/status")
}

// Confirm reads again whether a finding is still so. It fails with the bank's own
// errors.
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

// entryIs tells whether an index entry is there. One that cannot be read is: only
// its key tells anything.
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

// Repair ends a finding, if it still is one, and tells whether it did: an unended
// checkpoint gets the status Ended, stray and orphaned entries and data are removed,
// a missing entry is written, of a tombstone nothing stays. Who may do that is the caller's to decide. It may
// be repeated.
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
		return false, nil // somebody else was first
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

// removeTombstone removes index.json last: without it nobody knows whose the rest is.
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

// removedData is how many objects are removed until index.json is looked for
// again.
const removedData = 200

// removeData removes the data of a checkpoint without an index.json, its remarks among
// them. What cannot be removed stays behind, and fails it in the end.
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
		if err := c.goOn(err); err != nil {
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
