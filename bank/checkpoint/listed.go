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

// Listed is a checkpoint for display in listings. It is immutable and may be outdated, since the
// listing of a store may lag behind. Callers that change or use a checkpoint read it with Get.
type Listed struct {
	fields  fields
	keys    []string // of its entries in the indices
	version string   // of its index.json
	view    json.RawMessage
	failed  error       // result of View.Check
	clean   atomic.Bool // no data is left for a deletion to remove
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

// Encoded returns the JSON of the checkpoint's View, with or without the timestamp. It fails as
// View.Check does.
func (l *Listed) Encoded(timestamp bool) (json.RawMessage, error) {
	if !timestamp || l.failed != nil {
		return l.view, l.failed
	}
	return fmt.Appendf(nil, `%s,"timestamp":%d}`, l.view[:len(l.view)-1], l.fields.timestamp), nil
}

// size returns the approximate memory use in bytes.
func (l *Listed) size() int {
	size := 1000 + len(l.view)
	for _, key := range l.keys {
		size += len(key)
	}
	return size
}

// maxLooks bounds the bytes of cached checkpoints, enough for about ten thousand.
const maxLooks = 32 << 20

// looks caches checkpoints by id. Its content was checked as Get does, and is valid as long as
// index.json has the same version.
type looks struct {
	mu        sync.Mutex
	kept      map[string]*Listed
	size      int
	forgotten int // count of calls to forget
}

// of returns the cached checkpoint or nil, and the present count of forgotten for keep.
func (s *looks) of(id string) (*Listed, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id], s.forgotten
}

// keep caches a checkpoint that was read after of returned since. The checkpoint may predate a
// write of ours, so keep drops it if there was such a write. If the cache is full, keep evicts any
// other entry. Evicting the least recently used one would be the worst choice, since every listing
// visits all entries in the same order.
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

// forget drops a checkpoint that has changed or is no longer valid.
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

// look returns a checkpoint of any provider for a listing. version is the version of its index.json
// according to a listing of the store, or empty. It fails as get does.
//
// A listing of Swift may lag and show an earlier state, but only of a checkpoint at rest:
// checkpoints that an operation is working on are always read. Once read, a checkpoint never
// reverts to an earlier state, because the cache holds only versions of what was read, never
// versions from a listing, and drops what this process writes.
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

// versionPage is the number of keys in a listing of versions, one page of Swift.
const versionPage = 10000

// rollUp is the delimiter that makes all objects beside index.json one entry of a listing: their
// names contain an r, and neither index.json nor a UUID does. A listing of Swift thus has two
// entries for each checkpoint, however many objects it has: the container server skips from one to
// the other with one look-up. The alternatives, HEAD or If-None-Match, cost one request per
// checkpoint.
//
// Swift: container/backend.py list_objects_iter
const rollUp = "r"

// versions returns the versions of index.json, by full key, for entries that are cached. It asks
// only if the store's listings have versions and enough entries are cached to be worth a request.
// It stops after a page that covered few of them.
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
		if err := c.skipPartial(err); err != nil {
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

// versionOf returns the version of a checkpoint's index.json in versions.
func (c *Collection) versionOf(versions map[string]string, id string) string {
	return versions[c.checkpoints.Path()+indexPath(id)]
}
