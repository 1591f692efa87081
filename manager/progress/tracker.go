// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Tracker tracks the progress of an operation by resource, in memory at once and in the journal
// soon after. It does not contain resources without hooks or, unless earlier runs have recorded
// them, resources of an operation that is not open. It is safe for concurrent use.
type Tracker struct {
	marks   *MarkWriter
	now     func() time.Time
	remarks *Remarks

	mu        sync.Mutex
	resources map[resource.Key]*Resource
	states    map[string]json.RawMessage // by mark key
	restored  map[string]string          // recorded new resources, by original id
	reports   []Report                   // of earlier runs
	objects   map[string]string          // SHA-256 of objects that hooks have written, by name
}

// NewTracker returns a tracker that records by marks.
func NewTracker(marks *MarkWriter, now func() time.Time) *Tracker {
	t := &Tracker{marks: marks, now: now, remarks: NewRemarks(marks)}
	t.Reset()
	return t
}

// Reset forgets everything, before it is read from the journal again.
func (t *Tracker) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resources, t.states, t.restored, t.reports = map[resource.Key]*Resource{}, map[string]json.RawMessage{}, map[string]string{}, nil
	t.objects = map[string]string{}
	t.remarks.reset()
}

// Recall adopts a mark of an earlier run. It ignores marks of other kinds.
func (t *Tracker) Recall(m journal.Mark) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case strings.HasPrefix(m.Key, ResourceMarks):
		r := &Resource{}
		if err := json.Unmarshal(m.Value, r); err != nil {
			return err
		}
		t.resources[r.Key()] = r
		maps.Copy(t.restored, r.Restored)
	case strings.HasPrefix(m.Key, ReportMarks):
		var r Report
		if err := json.Unmarshal(m.Value, &r); err != nil {
			return err
		}
		t.reports = append(t.reports, r)
	case strings.HasPrefix(m.Key, objectMarks):
		var o object
		if err := json.Unmarshal(m.Value, &o); err != nil {
			return err
		}
		t.objects[o.Name] = o.SHA256
	case strings.HasPrefix(m.Key, RemarkMarks):
		return t.remarks.recall(m)
	case strings.HasPrefix(m.Key, stateMarks):
		t.states[m.Key] = m.Value
	}
	return nil
}

// Reports returns the reports of hooks of earlier runs.
func (t *Tracker) Reports() []Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.reports)
}

// Restored returns the new resources that earlier runs have created.
func (t *Tracker) Restored() *protection.NewResources {
	t.mu.Lock()
	defer t.mu.Unlock()
	made := &protection.NewResources{}
	for original, id := range t.restored {
		made.Set(original, id)
	}
	return made
}

// FinishedHooks returns the number of finished hooks, including those of earlier runs.
func (t *Tracker) FinishedHooks() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for _, r := range t.resources {
		count += len(r.Done)
	}
	return count
}

// All returns copies of all resources, ordered by type and id.
func (t *Tracker) All() []Resource {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Resource, 0, len(t.resources))
	for _, r := range t.resources {
		list = append(list, r.clone())
	}
	Sort(list)
	return list
}

// Sort orders resources by type and id.
func Sort(list []Resource) {
	slices.SortFunc(list, func(a, b Resource) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.ID, b.ID)) })
}

// Expect announces the hooks of a resource.
func (t *Tracker) Expect(key resource.Key, hooks []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resource(key).Hooks = hooks
}

// Finished reports whether a hook of a resource has finished, in this or an earlier run.
func (t *Tracker) Finished(key resource.Key, hook string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.resources[key]
	return r != nil && slices.Contains(r.Done, hook)
}

// Start records that a hook has started.
func (t *Tracker) Start(key resource.Key, hook string) {
	t.change(key, func(r *Resource) { r.start(hook, t.now().UTC()) })
}

// Finish records that a hook has finished, and the new resources that are not recorded yet.
func (t *Tracker) Finish(key resource.Key, hook string, made map[string]string) {
	t.change(key, func(r *Resource) {
		maps.DeleteFunc(made, func(original, id string) bool { return t.restored[original] == id })
		maps.Copy(t.restored, made)
		r.finish(hook, t.now().UTC(), made)
	})
}

// Fail records that the running hook has failed.
func (t *Tracker) Fail(key resource.Key, reason string) {
	t.change(key, func(r *Resource) { r.fail(t.now().UTC(), reason) })
}

// Percent records the progress of the running hook.
func (t *Tracker) Percent(key resource.Key, percent int) {
	t.change(key, func(r *Resource) { r.Percent = percent })
}

func (t *Tracker) change(key resource.Key, edit func(*Resource)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.resource(key)
	edit(r)
	t.marks.Note(markKey(ResourceMarks, key.String()), r)
}

// resource finds or adds a resource. The caller holds mu.
func (t *Tracker) resource(key resource.Key) *Resource {
	r := t.resources[key]
	if r == nil {
		r = &Resource{Type: key.Type, ID: key.ID, State: Waiting}
		t.resources[key] = r
	}
	return r
}

// State returns the state that a plugin keeps for a resource. A failed write hands the operation
// over to its next owner.
func (t *Tracker) State(key resource.Key) protection.State {
	return pluginState{t, markKey(stateMarks, key.String())}
}

type pluginState struct {
	tracker *Tracker
	key     string
}

var _ protection.State = pluginState{}

// Load implements protection.State.
func (s pluginState) Load(context.Context) (json.RawMessage, error) {
	s.tracker.mu.Lock()
	defer s.tracker.mu.Unlock()
	return s.tracker.states[s.key], nil
}

// Save implements protection.State.
func (s pluginState) Save(ctx context.Context, document json.RawMessage) error {
	if err := s.tracker.marks.Save(ctx, s.key, document); err != nil {
		return failure.AsHandover(s.tracker.marks.ctx, err)
	}
	s.tracker.mu.Lock()
	defer s.tracker.mu.Unlock()
	s.tracker.states[s.key] = document
	return nil
}

// Remarks implements flow.Recorder.
func (t *Tracker) Remarks() protection.Remarks { return t.remarks }

// Remarked returns the remarks of the hooks, including those of earlier runs.
func (t *Tracker) Remarked() remark.Document { return t.remarks.Document() }

// Objects returns the digests of the objects that hooks have written, by name.
func (t *Tracker) Objects() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.objects)
}

// SaveObject records the digest of an object before the write of a hook returns, so that it is
// signed when the checkpoint is completed.
func (t *Tracker) SaveObject(ctx context.Context, name, sum string) error {
	if err := t.marks.Save(ctx, markKey(objectMarks, name), object{name, sum}); err != nil {
		return failure.AsHandover(t.marks.ctx, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.objects[name] = sum
	return nil
}
