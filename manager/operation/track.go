// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// track is how far an operation has come, resource by resource. Resources
// without hooks do not stand in it, nor do those of an operation that is not
// open, unless earlier runs have noted them.
type track struct {
	mu        sync.Mutex
	resources map[resource.Key]*Progress
	states    map[string]json.RawMessage // by mark key
	noted     map[string]string          // new resources by original id
	reports   []Report                   // of earlier runs
	digests   map[string]string          // of the objects that hooks have written
}

// digest is what a hook has written: an object of the checkpoint by its name, with its
// SHA-256, or "" when it was deleted.
type digest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

func newTrack() *track {
	t := &track{}
	t.reset()
	return t
}

func (t *track) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resources, t.states, t.noted, t.reports = map[resource.Key]*Progress{}, map[string]json.RawMessage{}, map[string]string{}, nil
	t.digests = map[string]string{}
}

func (t *track) recall(p *Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resources[resource.Key{Type: p.Type, ID: p.ID}] = p
	maps.Copy(t.noted, p.Restored)
}

// expect announces a resource and its hooks.
func (t *track) expect(key resource.Key, hooks []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.resources[key]
	if p == nil {
		p = &Progress{Type: key.Type, ID: key.ID, State: HookWaiting}
		t.resources[key] = p
	}
	p.Hooks = hooks
}

// restored returns the new resources that earlier runs have made.
func (t *track) restored() *protection.NewResources {
	t.mu.Lock()
	defer t.mu.Unlock()
	made := &protection.NewResources{}
	for original, id := range t.noted {
		made.Set(original, id)
	}
	return made
}

// unnoted returns those of made that are not noted, and notes them.
func (t *track) unnoted(made map[string]string) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := map[string]string{}
	for original, id := range made {
		if t.noted[original] != id {
			fresh[original], t.noted[original] = id, id
		}
	}
	return fresh
}

func (t *track) recallReport(r Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reports = append(t.reports, r)
}

func (t *track) reported() []Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.reports)
}

func (t *track) recallDigest(d digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.digests[d.Name] = d.SHA256
}

func (t *track) objects() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.digests)
}

func (t *track) recallState(key string, document json.RawMessage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states[key] = document
}

func (t *track) state(key string) json.RawMessage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states[key]
}

// finished tells whether a hook of a resource has finished, now or before.
func (t *track) finished(key resource.Key, hook string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.resources[key]
	return p != nil && p.finished(hook)
}

// finishedHooks returns how many hooks have finished, now or before.
func (t *track) finishedHooks() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for _, p := range t.resources {
		count += len(p.Done)
	}
	return count
}

// change edits a resource's progress and returns a copy of it.
func (t *track) change(key resource.Key, edit func(*Progress)) Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.resources[key]
	if p == nil {
		p = &Progress{Type: key.Type, ID: key.ID}
		t.resources[key] = p
	}
	edit(p)
	return p.clone()
}

func (p *Progress) clone() Progress {
	c := *p
	c.Done = slices.Clone(p.Done)
	c.Restored = maps.Clone(p.Restored)
	return c
}

// all returns copies, ordered by type and id.
func (t *track) all() []Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Progress, 0, len(t.resources))
	for _, p := range t.resources {
		list = append(list, p.clone())
	}
	sortProgress(list)
	return list
}

// started, ended and the like are the edits.

func started(hook string, now time.Time) func(*Progress) {
	return func(p *Progress) {
		p.Hook, p.State, p.Percent, p.StartedAt, p.EndedAt, p.Error = hook, HookRunning, 0, &now, nil, ""
	}
}

func finished(hook string, now time.Time, restored map[string]string) func(*Progress) {
	return func(p *Progress) {
		p.State, p.EndedAt, p.Percent = HookFinished, &now, 0
		p.Done = append(p.Done, hook)
		for original, id := range restored {
			if p.Restored == nil {
				p.Restored = map[string]string{}
			}
			p.Restored[original] = id
		}
	}
}

func failed(now time.Time, reason string) func(*Progress) {
	return func(p *Progress) { p.State, p.EndedAt, p.Error = HookFailed, &now, reason }
}

// The keys of marks: what has become of a resource's hooks, what its plugin
// keeps, what hooks have told of a resource of a restore or verification, that all hooks have ended well, and how the operation is to end
// otherwise, which is what counts when both are there.
const (
	progressMarks = "p/"
	stateMarks    = "s/"
	reportMarks   = "r/"
	digestMarks   = "d/"
	walkedMark    = "walked"
	verdictMark   = "verdict"
)

// longestKey is what a journal's mark key may have.
const longestKey = 400

// markKey names a resource's mark.
func markKey(prefix string, key resource.Key) string { return markName(prefix, key.String()) }

// markName names a mark. A long name is replaced by its digest.
func markName(prefix, name string) string {
	if len(prefix+name) <= longestKey {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + "sha256:" + hex.EncodeToString(sum[:])
}

// HookState is how a resource fares in an operation.
type HookState string

// The states of a resource.
const (
	HookWaiting  HookState = "waiting"
	HookRunning  HookState = "running"
	HookFinished HookState = "finished" // and the next may start
	HookFailed   HookState = "failed"
)

// Progress is how far an operation has come with one resource.
type Progress struct {
	Type string `json:"resource_type"`
	ID   string `json:"resource_id"`
	// Hook is the one that runs, or ran last; empty before the first.
	Hook  string    `json:"hook"`
	State HookState `json:"state"`
	// Percent is how much of the hook's work is done, where its service tells.
	Percent   int        `json:"percent,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"` // of the hook
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`

	// Hooks are all that the resource has, in their order.
	Hooks []string `json:"hooks,omitempty"`
	// Done are the hooks that have finished and never run again.
	Done []string `json:"done,omitempty"`
	// Restored are the new resources that the hooks of this one have made, by
	// the ids of the original ones.
	Restored map[string]string `json:"restored,omitempty"`
}

func (p *Progress) finished(hook string) bool { return slices.Contains(p.Done, hook) }

// decodeProgress reads the marks of an entry.
func decodeProgress(value json.RawMessage) (*Progress, error) {
	p := &Progress{}
	return p, json.Unmarshal(value, p)
}
