// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank"
)

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
