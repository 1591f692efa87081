// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
)

// indexPath returns the key of index.json in the section of the checkpoints.
func indexPath(id string) string { return id + "/index.json" }

// indexKeys returns the keys of a checkpoint's entries in the section of the indices, in the order
// in which the original writes and drops them. An id that cannot be part of a key has no entry: the
// original drops empty parts and treats an id with a slash as two parts, and so would have put the
// entry among the entries of others.
//
// karbor: checkpoint.py CheckpointCollection.create
func indexKeys(f fields) []string {
	name := fmt.Sprintf("%d@%s", f.timestamp, f.id)
	var keys []string
	for _, parts := range [][]string{
		{"by-provider", f.provider, f.project, name},
		{"by-date", f.createdAt, f.project, name},
		{"by-plan", f.plan.ID, f.project, f.createdAt, name},
	} {
		if !slices.ContainsFunc(parts, func(part string) bool { return !validID(part) }) {
			keys = append(keys, strings.Join(parts, "/"))
		}
	}
	return keys
}

// CheckIDs returns an error that names the first id of the plan that cannot be part of a key. No
// checkpoint of such a plan can be created.
func (p Plan) CheckIDs() error {
	for _, part := range []struct{ name, id string }{
		{"id of the plan", p.ID}, {"project_id of the plan", p.ProjectID}, {"provider_id of the plan", p.ProviderID},
	} {
		if err := checkKeyPart(part.name, part.id); err != nil {
			return err
		}
	}
	return nil
}

// checkKeyPart returns an error for an id that cannot be part of a key.
func checkKeyPart(name, id string) error {
	if validID(id) {
		return nil
	}
	return fault.InvalidInput(fmt.Sprintf("%s: %.80q can be no part of a key in the bank: want 1 to %d characters, "+
		`letters, digits or one of _.-@, and neither "." nor ".."`, name, id, maxID))
}

// join adds err to others unless the same text is there already: a failure of a bank repeats for
// each object of a checkpoint.
func join(others, err error) error {
	if others != nil && strings.Contains(others.Error(), err.Error()) {
		return others
	}
	return errors.Join(others, err)
}

// entry is the information in the key of an index entry.
type entry struct {
	key       string // in the section of the indices
	timestamp int64
	id        string
	project   string
	date      string // YYYY-MM-DD; by-provider has none in its keys
}

// before reports whether e precedes other in a listing: by time, then by id.
func (e entry) before(other entry) bool {
	if e.timestamp != other.timestamp {
		return e.timestamp < other.timestamp
	}
	return e.id < other.id
}

// shape names the parts of a key between the prefix of a listing and the last part.
type shape struct{ project, date bool }

// parse reads the rest of a key. It returns false for keys of another shape, such as keys from
// before October 2017, which had no project in them.
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

// maxID is the maximum length of one part of a key, as file systems limit it.
const maxID = 255

// validID reports whether text can be one part of a key. Ids are UUIDs, but nothing relies on that.
func validID(text string) bool {
	if text == "" || text == "." || text == ".." || len(text) > maxID {
		return false
	}
	return !strings.Contains(text, "/") && !strings.ContainsFunc(text, notOfKeys)
}

// notOfKeys reports whether keys of a bank exclude the character.
func notOfKeys(c rune) bool { return !bank.InKeys(c) }
