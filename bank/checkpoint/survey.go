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

// Flaw is what may be wrong with a part of a bank.
type Flaw string

// The flaws.
const (
	// Unended is a checkpoint in a status in which an operation is at work on it
	// (Status.Unfinished). Whether there is one the bank does not tell.
	Unended Flaw = "unended"
	// StrayEntry is an index entry of a checkpoint that was deleted.
	StrayEntry Flaw = "stray entry"
	// OrphanedEntry is an index entry without an index.json.
	OrphanedEntry Flaw = "orphaned entry"
	// MissingEntry is an index entry that a checkpoint ought to have.
	MissingEntry Flaw = "missing entry"
	// OrphanedData are resource data, or remarks, without an index.json.
	OrphanedData Flaw = "orphaned data"
	// Tombstone is what is left of a checkpoint that was deleted: index.json, and what tells of
	// its resources. It is right so. Whether it has been there for long enough is the caller's to decide.
	Tombstone Flaw = "tombstone"
)

// Orphan reports whether the flaw rests on the absence of an index.json alone, which
// may come back: a store may have it in quarantine, or answer in part.
func (f Flaw) Orphan() bool { return f == OrphanedEntry || f == OrphanedData }

// Finding is one flaw. Two findings of the same are equal.
type Finding struct {
	Flaw   Flaw
	ID     string // of the checkpoint
	Key    string // of the index entry, in the bank; else empty
	Status Status // of an unended checkpoint; else empty
	Owner  string // likewise
	Made   int64  // when the checkpoint of a tombstone was made, in seconds since 1970; else 0
}

// What is read at a time.
const (
	surveyedEntries = 5000 // of an index
	surveyedKeys    = 64   // of /checkpoints/
	surveyedIDs     = 256
)

// Survey looks at all of the provider's checkpoints and all entries of the
// indices and calls visit, from one goroutine, for what looks wrong. Each may
// be quite right: an operation may be at work, the bank may lag behind. Holds
// tells whether a finding is still so, and Mend ends it.
//
// Data and entries without an index.json belong to nobody who could be named:
// each provider that shares the bank finds them. A broken index.json, or one that
// cannot be read, is left as it is, and so is all that belongs to it. It fails with
// the errors of the bank that are not about a part of it, and that of visit. It holds the keys of the indices in memory.
func (c *Collection) Survey(ctx context.Context, visit func(Finding) error) error {
	s := &survey{Collection: c, visit: visit, entries: map[string][]string{}, counts: map[Status]int{}}
	// The entries first: a checkpoint has its index.json before them, and loses
	// it never, so that what is created meanwhile has no stray ones.
	if err := s.list(ctx); err != nil {
		return err
	}
	if err := s.walk(ctx); err != nil {
		return err
	}
	var left []string // what a listing that lags does not have yet
	for id := range s.entries {
		left = append(left, id)
		if len(left) == surveyedIDs {
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

// Counts returns how many checkpoints of each status the provider had at the last Survey
// that came to its end; nil before.
func (c *Collection) Counts() map[Status]int {
	if counts := c.counts.Load(); counts != nil {
		return maps.Clone(*counts)
	}
	return nil
}

type survey struct {
	*Collection
	visit   func(Finding) error
	entries map[string][]string // keys of the entries of ids not yet judged
	counts  map[Status]int
}

// list reads the keys of the indices. Keys of other shapes are none of ours.
func (s *survey) list(ctx context.Context) error {
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
			keys, err := s.indices.List(ctx, bank.ListOptions{Prefix: index.prefix, Marker: marker, Limit: surveyedEntries})
			if err := s.goOn(err); unusable(err) {
				// What it holds is not missing: Holds reads each entry.
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
			if len(keys) < surveyedEntries {
				break
			}
			marker = keys[len(keys)-1]
		}
	}
	return nil
}

// walk goes from checkpoint to checkpoint. Where a page ends in the midst of
// one the next begins behind it, however many objects it has.
func (s *survey) walk(ctx context.Context) error {
	var ids []string
	last, marker := "", ""
	for {
		keys, err := s.checkpoints.List(ctx, bank.ListOptions{Marker: marker, Limit: surveyedKeys})
		if err := s.goOn(err); err != nil {
			return err
		}
		for _, key := range keys {
			id, _, below := strings.Cut(key, "/")
			marker = key
			if !below {
				continue
			}
			if marker = behind(id); id != last && validID(id) {
				ids = append(ids, id)
			}
			last = id
		}
		if done := len(keys) < surveyedKeys; done || len(ids) >= surveyedIDs {
			if err := s.judge(ctx, ids); err != nil || done {
				return err
			}
			ids = ids[:0]
		}
	}
}

// behind is a marker that follows all keys below a folder and precedes all that
// follow those: "0" is the character after the slash.
func behind(folder string) string { return folder + "0" }

// judge reads checkpoints and tells what is wrong with them, in their order.
func (s *survey) judge(ctx context.Context, ids []string) error {
	found, missing := make([]*Checkpoint, len(ids)), make([]bool, len(ids))
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(s.options.MaxReads)
	for i, id := range ids {
		reading.Go(func() (err error) {
			found[i], err = s.own(readCtx, id)
			if errors.Is(err, bank.ErrNotFound) {
				missing[i], err = true, nil
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		entries := s.entries[id]
		delete(s.entries, id)
		var err error
		switch {
		case missing[i]:
			err = s.withoutIndex(ctx, id, entries)
		case found[i] != nil:
			err = s.one(found[i].read(), entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// own reads a checkpoint. It is nil when it is another provider's, or unusable.
func (c *Collection) own(ctx context.Context, id string) (*Checkpoint, error) {
	cp, err := c.get(ctx, id)
	if unusable(err) {
		c.options.Log.WithError(err).WithField("checkpoint_id", id).Warn("a checkpoint cannot be looked at")
		return nil, nil
	}
	if err != nil || cp.fields.provider != c.providerID {
		return nil, err
	}
	return cp, nil
}

func (s *survey) withoutIndex(ctx context.Context, id string, entries []string) error {
	if err := s.each(OrphanedEntry, id, entries); err != nil {
		return err
	}
	if there, err := s.hasData(ctx, id); err != nil || !there {
		return err
	}
	return s.visit(Finding{Flaw: OrphanedData, ID: id})
}

func (s *survey) each(flaw Flaw, id string, entries []string) error {
	for _, key := range entries {
		if err := s.visit(Finding{Flaw: flaw, ID: id, Key: s.indices.Path() + key}); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) one(f fields, entries []string) error {
	s.counts[f.status]++
	if f.status == Deleted {
		if len(entries) == 0 {
			return s.visit(Finding{Flaw: Tombstone, ID: f.id, Made: f.timestamp})
		}
		return s.each(StrayEntry, f.id, entries)
	}
	if f.status.Unfinished() {
		if err := s.visit(Finding{Flaw: Unended, ID: f.id, Status: f.status, Owner: f.owner}); err != nil {
			return err
		}
	}
	there := map[string]bool{}
	for _, key := range entries {
		there[key] = true
	}
	for _, key := range indexKeys(f) {
		if there[key] {
			continue
		}
		if err := s.visit(Finding{Flaw: MissingEntry, ID: f.id, Key: s.indices.Path() + key}); err != nil {
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

// Holds reads again whether a finding is still so. It fails with the bank's own
// errors.
func (c *Collection) Holds(ctx context.Context, f Finding) (bool, error) {
	cp, err := c.own(ctx, f.ID)
	missing := errors.Is(err, bank.ErrNotFound)
	if err != nil && !missing {
		return false, err
	}
	key := strings.TrimPrefix(f.Key, c.indices.Path())
	if cp == nil {
		switch {
		case missing && f.Flaw == OrphanedEntry:
			return c.entryIs(ctx, key)
		case missing && f.Flaw == OrphanedData:
			return c.hasData(ctx, f.ID)
		}
		return false, nil
	}
	now := cp.read()
	switch f.Flaw {
	case Unended:
		return now.status == f.Status && now.owner == f.Owner, nil
	case Tombstone:
		return now.status == Deleted, nil
	case StrayEntry:
		if now.status == Deleted {
			return c.entryIs(ctx, key)
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

// Mend ends a finding, if it still is one, and tells whether it did: an unended
// checkpoint gets the status Ended, stray and orphaned entries and orphaned data are removed,
// a missing entry is written, of a tombstone nothing stays. Who may do that is the caller's to decide. It may
// be repeated.
func (c *Collection) Mend(ctx context.Context, f Finding) (bool, error) {
	if still, err := c.Holds(ctx, f); err != nil || !still {
		return false, err
	}
	var err error
	key := strings.TrimPrefix(f.Key, c.indices.Path())
	switch f.Flaw {
	case Unended:
		err = c.giveUp(ctx, f)
	case StrayEntry, OrphanedEntry:
		err = c.indices.Delete(ctx, key)
	case MissingEntry:
		err = c.indices.PutText(ctx, key, f.ID)
	case OrphanedData:
		return c.removeData(ctx, f)
	case Tombstone:
		err = c.removeTombstone(ctx, f)
	}
	if errors.Is(err, bank.ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTransition) {
		return false, nil // somebody else was first
	}
	return err == nil, err
}

func (c *Collection) giveUp(ctx context.Context, f Finding) error {
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
func (c *Collection) removeTombstone(ctx context.Context, f Finding) error {
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
	return c.checkpoints.Delete(ctx, indexPath(f.ID))
}

// removedData is how many objects are removed until index.json is looked for
// again.
const removedData = 200

// removeData removes the data of a checkpoint without an index.json, its remarks among
// them. What cannot be removed stays behind, and fails it in the end.
func (c *Collection) removeData(ctx context.Context, f Finding) (removed bool, failed error) {
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

func (c *Collection) removeBelow(ctx context.Context, f Finding, prefix string) (removed bool, failed error) {
	for marker := ""; ; {
		keys, err := c.checkpoints.List(ctx, bank.ListOptions{Prefix: prefix, Marker: marker, Limit: removedData})
		if err := c.goOn(err); err != nil {
			return removed, join(failed, err)
		}
		for _, key := range keys {
			marker = key
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
		if still, err := c.Holds(ctx, f); err != nil || !still {
			return removed, join(failed, err)
		}
	}
}
