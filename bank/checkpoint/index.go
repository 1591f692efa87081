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

// indexPath is the key of index.json in the section of the checkpoints.
func indexPath(id string) string { return id + "/index.json" }

// indexKeys are the keys of a checkpoint's entries in the section of the
// indices, in the order in which the original writes and drops them. Where an id
// can be no part of a key there is no entry: the original, which drops empty parts
// and takes an id with a slash for two, would have put it among those of others.
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

// CheckIDs names the first id of a plan that can be no part of a key, so that no
// checkpoint of the plan can be made.
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

// checkKeyPart fails for an id that can be no part of a key.
func checkKeyPart(name, id string) error {
	if validID(id) {
		return nil
	}
	return fault.InvalidInput(fmt.Sprintf("%s: %.80q can be no part of a key in the bank: want 1 to %d characters, "+
		`letters, digits or one of _.-@, and neither "." nor ".."`, name, id, maxID))
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
	key       string // in the section of the indices
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

// maxID is how long one part of a key may be: what a file system takes.
const maxID = 255

// validID tells whether text can be one part of a key. Ids are UUIDs, but
// nothing relies on that.
func validID(text string) bool {
	if text == "" || text == "." || text == ".." || len(text) > maxID {
		return false
	}
	return !strings.Contains(text, "/") && !strings.ContainsFunc(text, notOfKeys)
}

// notOfKeys tells whether no key of a bank has the character.
func notOfKeys(c rune) bool { return !bank.InKeys(c) }
