// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Harness is one flow over one checkpoint.
type Harness struct {
	Memory       *banktest.Memory
	Faults       *banktest.Faulty
	Checkpoint   *checkpoint.Checkpoint
	Status       *Recorder
	State        *State
	Remarks      *Remarks
	NewResources *protection.NewResources

	t testing.TB
}

// New makes a checkpoint in a new bank in memory.
func New(t testing.TB) *Harness {
	t.Helper()
	memory := banktest.NewMemory()
	h := Over(t, banktest.NewFaulty(memory))
	h.Memory = memory
	return h
}

// Over makes a checkpoint in a bank.
func Over(t testing.TB, plugin bank.Plugin) *Harness {
	t.Helper()
	cp, err := checkpoint.NewCollection(bank.New(plugin, nil), "provider", checkpoint.Options{}).
		Create(t.Context(), checkpoint.CreateOptions{Plan: checkpoint.Plan{ID: "plan", ProviderID: "provider", ProjectID: "project"}})
	if err != nil {
		t.Fatal(err)
	}
	h := &Harness{Checkpoint: cp, Status: &Recorder{}, State: &State{}, Remarks: &Remarks{}, NewResources: &protection.NewResources{}, t: t}
	h.Faults, _ = plugin.(*banktest.Faulty)
	return h
}

// Call returns what the hooks of a resource get. Parameters are name and value
// in turn.
func (h *Harness) Call(r resource.Resource, parameters ...string) *protection.Call {
	h.t.Helper()
	section, err := h.Checkpoint.Section(r.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &protection.Call{
		Resource:     r,
		Checkpoint:   h.Checkpoint,
		Section:      section,
		Graph:        &resource.Graph{Roots: []*resource.Node{{Resource: r}}},
		Parameters:   protection.Parameters{},
		NewResources: h.NewResources,
		Status:       h.Status,
		State:        h.State,
		Remarks:      h.Remarks,
	}
	for i := 0; i+1 < len(parameters); i += 2 {
		text, err := json.Marshal(parameters[i+1])
		if err != nil {
			h.t.Fatal(err)
		}
		c.Parameters[parameters[i]] = text
	}
	return c
}

// Run runs all hooks of an operation in their order, until one fails.
func (h *Harness) Run(ctx context.Context, p protection.Plugin, kind protection.Kind, c *protection.Call) error {
	h.t.Helper()
	operation, err := p.Operation(kind, c.Resource)
	if err != nil {
		return err
	}
	for _, hook := range []protection.Hook{operation.PrepareBegin, operation.PrepareFinish, operation.Main, operation.Complete} {
		if hook == nil {
			continue
		}
		if err := hook(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Foretell plans a restore. It fails as the plan does, and if that remarks something else
// than wanted, by its Aspects, or writes to the bank.
func Foretell(ctx context.Context, h *Harness, p protection.Plugin, c *protection.Call, want map[string]string) error {
	operation, err := p.Operation(protection.Restore, c.Resource)
	if err != nil {
		return err
	}
	remarks, before := &Remarks{}, h.Memory.Objects()
	call := *c
	call.Remarks, call.State, call.Status = remarks, nil, nil
	if _, err := operation.Plan(ctx, &call); err != nil {
		return err
	}
	if got := remarks.Aspects(); len(got)+len(want) > 0 && !maps.Equal(got, want) {
		return fmt.Errorf("foretold is %v, want %v", got, want)
	}
	if !reflect.DeepEqual(before, h.Memory.Objects()) {
		return errors.New("the plan has written to the bank")
	}
	return nil
}

// Text returns the object of a resource's section as it is in the bank.
func (h *Harness) Text(r resource.Resource, key string) string {
	h.t.Helper()
	section, err := h.Checkpoint.Section(r.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.Memory != nil {
		return string(h.Memory.Objects()[section.Path()+key].Body)
	}
	text, err := section.GetText(h.t.Context(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// Keys returns the keys of a resource's section.
func (h *Harness) Keys(r resource.Resource) []string {
	h.t.Helper()
	section, err := h.Checkpoint.Section(r.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	keys, err := section.List(h.t.Context(), bank.ListOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return keys
}

// Record is one status that a hook recorded.
type Record struct{ Type, ID, Status, Reason string }

// Recorder keeps what hooks record.
type Recorder struct {
	mu      sync.Mutex
	records []Record
}

var _ protection.StatusRecorder = (*Recorder)(nil)

// Update implements protection.StatusRecorder.
func (r *Recorder) Update(_ context.Context, resourceType, id, status, reason string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, Record{resourceType, id, status, reason})
	return nil
}

// Records returns all records in their order.
func (r *Recorder) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record{}, r.records...)
}

// Remarks keeps what hooks remark.
type Remarks struct{ list remark.List }

var _ protection.Remarks = (*Remarks)(nil)

// Add implements protection.Remarks.
func (r *Remarks) Add(one remark.Remark) { r.list.Add(one) }

// Of implements protection.Remarks.
func (r *Remarks) Of(resource remark.Resource) []remark.Remark { return r.list.Of(resource) }

// Aspects returns what each remark says without its reason, by its aspect: "was -> is".
// Texts of several remarks on one aspect are in order, with "; " between them.
func (r *Remarks) Aspects() map[string]string {
	all := map[string]string{}
	for _, one := range r.list.Document().Remarks {
		text := one.Was + " -> " + one.Is
		if before := all[one.Aspect]; before != "" {
			text = before + "; " + text
		}
		all[one.Aspect] = text
	}
	return all
}

// State keeps one document.
type State struct {
	mu       sync.Mutex
	document json.RawMessage
}

var _ protection.State = (*State)(nil)

// Load implements protection.State.
func (s *State) Load(context.Context) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.document, nil
}

// Save implements protection.State.
func (s *State) Save(_ context.Context, document json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.document = document
	return nil
}
