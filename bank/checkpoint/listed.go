// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/karbor-project/karbor/bank"
)

// Listed is a checkpoint as listings show it. It is immutable, and no more than a look: a
// store's listing may lag behind. Whoever changes or uses a checkpoint reads it (Get).
type Listed struct {
	fields  fields
	keys    []string // of its entries in the indices
	version string   // of its index.json
	view    json.RawMessage
	failed  error       // of Check
	clean   atomic.Bool // nothing is left that a deletion removes
}

func newListed(d *document, f fields, version string) (*Listed, error) {
	view := viewOf(d, f)
	text, err := json.Marshal(view)
	if err != nil {
		return nil, fmt.Errorf("encoding checkpoint %s: %w", f.id, err)
	}
	f.graph, f.plan.Resources = nil, nil
	return &Listed{fields: f, keys: indexKeys(f), version: version, view: text, failed: view.Check()}, nil
}

// ID returns the id of the checkpoint.
func (l *Listed) ID() string { return l.fields.id }

// Encoded returns the JSON of the checkpoint's View, with the timestamp or without. It fails
// as View.Check does.
func (l *Listed) Encoded(timestamp bool) (json.RawMessage, error) {
	if !timestamp || l.failed != nil {
		return l.view, l.failed
	}
	return fmt.Appendf(nil, `%s,"timestamp":%d}`, l.view[:len(l.view)-1], l.fields.timestamp), nil
}

// size is about how many bytes of memory it takes.
func (l *Listed) size() int {
	size := 1000 + len(l.view)
	for _, key := range l.keys {
		size += len(key)
	}
	return size
}

// maxLooks is how many bytes the checkpoints may take that are kept: those of some ten
// thousand.
const maxLooks = 32 << 20

// looks are checkpoints that were read, by id. What is in them was checked as Get does, and
// is good for as long as index.json has the same version.
type looks struct {
	mu        sync.Mutex
	kept      map[string]*Listed
	size      int
	forgotten int // how often something was
}

// of returns what is kept of a checkpoint, or nil, and for keep when that was.
func (s *looks) of(id string) (*Listed, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id], s.forgotten
}

// keep keeps what was read after since: it may be what was there before a write of ours,
// and is dropped if there was one. Where there is no room any other goes. The one that was used least
// lately would be the worst to choose, since every listing goes through all in one order.
func (s *looks) keep(l *Listed, since int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.version == "" || s.forgotten != since || l.size() > maxLooks/16 {
		return
	}
	s.drop(l.fields.id)
	for id := range s.kept {
		if s.size+l.size() <= maxLooks {
			break
		}
		s.drop(id)
	}
	if s.kept == nil {
		s.kept = map[string]*Listed{}
	}
	s.kept[l.fields.id] = l
	s.size += l.size()
}

// forget drops a checkpoint that was changed, or that is not as it was.
func (s *looks) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten++
	s.drop(id)
}

func (s *looks) drop(id string) {
	if l := s.kept[id]; l != nil {
		delete(s.kept, id)
		s.size -= l.size()
	}
}

// look returns a checkpoint of any provider for a listing. version is that of its index.json by a
// listing of the store, "" if there is none. It fails as get does.
//
// A listing of Swift's may lag. What it shows then is what was there before, and only of a checkpoint that is
// at rest: one that an operation is at work on is always read. What was read once is not
// followed by what was there before it: the versions that are kept are those of what was
// read, never those of a listing, and what this process writes is forgotten.
func (c *Collection) look(ctx context.Context, id, version string) (*Listed, error) {
	known := ""
	l, since := c.looks.of(id)
	if l != nil {
		if known = l.version; known == version && !l.fields.status.Unfinished() {
			return l, nil
		}
	}
	text, version, err := c.checkpoints.GetChanged(ctx, indexPath(id), known)
	switch {
	case err == nil && text == nil:
		return l, nil
	case l != nil:
		c.looks.forget(id)
		since++
	}
	if err != nil {
		return nil, err
	}
	d, f, err := c.parse(id, text)
	if err != nil {
		return nil, err
	}
	if l, err = newListed(&d, f, version); err == nil {
		c.looks.keep(l, since)
	}
	return l, err
}

// versionPage is how many keys a listing of versions has, a page of Swift's.
const versionPage = 10000

// rollUp makes all that lies beside an index.json one entry of a listing: the names of that begin with an r, and
// there is none in an index.json or a UUID. So a listing of Swift's has two entries for each
// checkpoint, however many objects that has: the container server goes from one to the other with one look-up. The other ways
// to ask for versions, HEAD or If-None-Match, take a request for each.
//
// Swift: container/backend.py list_objects_iter
const rollUp = "r"

// versions returns the versions of index.json, by its whole key, of those entries that
// something is kept of: where the store's listings tell versions, and there are as many as are worth a
// request. A page that has told few of them is the last one.
func (c *Collection) versions(ctx context.Context, entries []entry) (map[string]string, error) {
	var wanted []string
	for _, e := range entries {
		if l, _ := c.looks.of(e.id); l != nil {
			wanted = append(wanted, indexPath(e.id))
		}
	}
	slices.Sort(wanted)
	versions := map[string]string{}
	o := bank.ListOptions{Delimiter: rollUp, Versions: versions, Limit: versionPage}
	for len(wanted) > c.options.MaxReads && !c.unversioned.Load() {
		keys, err := c.checkpoints.List(ctx, o)
		if err := c.goOn(err); err != nil {
			return nil, err
		}
		c.unversioned.Store(len(keys) > 0 && len(versions) == 0)
		if len(keys) < versionPage {
			break
		}
		o.Marker = keys[len(keys)-1]
		told, _ := slices.BinarySearch(wanted, o.Marker)
		if wanted = wanted[told:]; told < c.options.MaxReads {
			break
		}
	}
	return versions, nil
}

// versionOf returns what versions tells of a checkpoint.
func (c *Collection) versionOf(versions map[string]string, id string) string {
	return versions[c.checkpoints.Path()+indexPath(id)]
}
