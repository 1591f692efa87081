// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank"
)

// indexPath is the key of index.json in the section of the checkpoints.
func indexPath(id string) string { return id + "/index.json" }

// indexKeys are the keys of a checkpoint's entries in the section of the
// indices, in the order in which the original writes and drops them.
//
// karbor: checkpoint.py CheckpointCollection.create
func indexKeys(f fields) []string {
	name := fmt.Sprintf("%d@%s", f.timestamp, f.id)
	return []string{
		fmt.Sprintf("by-provider/%s/%s/%s", f.provider, f.project, name),
		fmt.Sprintf("by-date/%s/%s/%s", f.createdAt, f.project, name),
		fmt.Sprintf("by-plan/%s/%s/%s/%s", f.plan.ID, f.project, f.createdAt, name),
	}
}

// possible tells whether there may be an entry under a key: not if a part of it,
// such as the id of a plan, can be in none. The original leaves an index.json
// behind when it fails to write the entries of such a checkpoint.
func possible(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if !validID(part) {
			return false
		}
	}
	return true
}

// dropIndices removes a checkpoint's entries. Entries that are not there are
// no error.
func (c *Collection) dropIndices(ctx context.Context, f fields) error {
	var failed error
	for _, key := range indexKeys(f) {
		if !possible(key) {
			continue
		}
		if err := c.indices.Delete(ctx, key); err != nil && !errors.Is(err, bank.ErrNotFound) {
			failed = join(failed, err)
		}
	}
	return failed
}

// join adds an error to others that do not say the same already: what is wrong
// with a bank is wrong for each of a checkpoint's objects.
func join(others, err error) error {
	if others != nil && strings.Contains(others.Error(), err.Error()) {
		return others
	}
	return errors.Join(others, err)
}

// entry is what the key of an index entry tells of a checkpoint.
type entry struct {
	timestamp int64
	id        string
	project   string
	date      string // YYYY-MM-DD; by-provider has none in its keys
}

// before is the order of a listing: by time, and by id within a second.
func (e entry) before(other entry) bool {
	if e.timestamp != other.timestamp {
		return e.timestamp < other.timestamp
	}
	return e.id < other.id
}

// shape names the parts of a key below the prefix of a listing, apart from the
// last one.
type shape struct{ project, date bool }

// parse reads the rest of a key. It is false for keys of another shape, such
// as those from before October 2017, which had no project in them.
func (s shape) parse(rest, project string) (entry, bool) {
	parts := strings.Split(rest, "/")
	e := entry{project: project}
	if s.project && len(parts) > 1 {
		e.project, parts = parts[0], parts[1:]
	}
	if s.date && len(parts) > 1 {
		e.date, parts = parts[0], parts[1:]
		if _, err := time.Parse(time.DateOnly, e.date); err != nil {
			return e, false
		}
	}
	if len(parts) != 1 || s.project && e.project == "" || s.date && e.date == "" {
		return e, false
	}
	stamp, id, ok := strings.Cut(parts[0], "@")
	if !ok || !validID(id) {
		return e, false
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return e, false
	}
	e.timestamp, e.id = seconds, id
	return e, true
}

// validID tells whether text can be one part of a key. Ids are UUIDs, but
// nothing relies on that.
func validID(text string) bool {
	if text == "" || text == "." || text == ".." || len(text) > 255 {
		return false
	}
	return !strings.Contains(text, "/") && !strings.ContainsFunc(text, notOfKeys)
}

// notOfKeys tells whether no key of a bank has the character.
func notOfKeys(c rune) bool { return !bank.InKeys(c) }
