// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// Call is what a hook works on. The request context, with the user's token,
// comes with the context.Context. All hooks of one resource in one flow get
// equal values; NewResources is one for the whole flow. A run after a crash
// gets equal values again, the State as it was saved last, and in NewResources
// the resources whose hooks had ended.
type Call struct {
	Resource   resource.Resource
	Checkpoint *checkpoint.Checkpoint
	// Copy is the new checkpoint of a copy, nil in all other flows.
	Copy *checkpoint.Checkpoint
	// Section is the resource's own part of the checkpoint that is written,
	// resource-data/<id>/. Nil if the id cannot be part of a key.
	Section *bank.Section
	// Graph is the checkpoint's whole resource graph.
	Graph      *resource.Graph
	Parameters Parameters
	// NewResources maps original ids to restored ones. Nil unless restoring.
	NewResources *NewResources
	// Status records the resource's status in the restore or verification. Nil
	// in flows that have no such record.
	Status StatusRecorder
	// State keeps a little of the resource's own between hooks and over a
	// restart of the service. Nil means that nothing is kept.
	State State
	// Remarks records differences to the original resource although the hook succeeds. Nil
	// records nothing; hooks call Remark.
	Remarks Remarks
	// Progress is told how far the hook is. It returns at once and is safe for
	// concurrent use. Nil means that nobody wants to know; hooks call Report.
	Progress func(percent int)
	// Log carries the fields of operation and resource. Nil discards.
	Log logrus.FieldLogger
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// StatusRecorder writes resources_status and resources_reason of a restore or
// verification. It is safe for concurrent use. For a restore, id is the id of the new
// resource.
type StatusRecorder interface {
	Update(ctx context.Context, resourceType, id, status, reason string) error
}

// State is a small JSON document that belongs to one resource in one flow: all
// its hooks share it, Undo included. It survives the process. A hook saves what a
// second run needs to find what the first had made, before it makes it. No
// secrets: it is stored as it is.
type State interface {
	// Load returns the document, or nil if none was saved.
	Load(ctx context.Context) (json.RawMessage, error)
	// Save replaces the document. When it returns nil the document is durable;
	// after an error it is the old or the new one.
	Save(ctx context.Context, document json.RawMessage) error
}

// Remarks keeps the remarks of a flow. It is safe for concurrent use and does not wait: a
// remark becomes durable with the next State that is saved, or with the end of the hook.
// Adding the same remark again changes nothing.
type Remarks interface {
	Add(r remark.Remark)
	// Of returns the remarks on a resource, including remarks of earlier runs.
	Of(r remark.Resource) []remark.Remark
}

// Remark tells users what of the resource is not as it was, or cannot come back. A hook
// calls it before it saves the state by which a second run passes over that.
func (c *Call) Remark(r remark.Remark) {
	if c.Remarks != nil {
		r.Resource = remark.Resource(c.Resource.Key())
		c.Remarks.Add(r)
	}
}

// Remarked returns the remarks on the resource in one line, "" without any.
func (c *Call) Remarked() string {
	if c.Remarks == nil {
		return ""
	}
	return remark.Text(c.Remarks.Of(remark.Resource(c.Resource.Key())))
}

// UpdateStatus records a status if the flow has a record for it.
func (c *Call) UpdateStatus(ctx context.Context, id, status, reason string) error {
	if c.Status == nil {
		return nil
	}
	if err := c.Status.Update(ctx, c.Resource.Type, id, status, reason); err != nil {
		return fmt.Errorf("record status %s of %s %s: %w", status, c.Resource.Type, id, err)
	}
	return nil
}

// LoadState reads the resource's state into v, a pointer. Without one v stays
// as it is.
func (c *Call) LoadState(ctx context.Context, v any) error {
	if c.State == nil {
		return nil
	}
	document, err := c.State.Load(ctx)
	if err != nil {
		return fmt.Errorf("load state of %s: %w", c.Resource.Key(), err)
	}
	if len(document) == 0 {
		return nil
	}
	if err := json.Unmarshal(document, v); err != nil {
		return fmt.Errorf("load state of %s: %w", c.Resource.Key(), err)
	}
	return nil
}

// SaveState makes v, as JSON, the resource's state.
func (c *Call) SaveState(ctx context.Context, v any) error {
	if c.State == nil {
		return nil
	}
	document, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save state of %s: %w", c.Resource.Key(), err)
	}
	if err := c.State.Save(ctx, document); err != nil {
		return fmt.Errorf("save state of %s: %w", c.Resource.Key(), err)
	}
	return nil
}

// Report tells how far the hook is, from 0 to 100. It may be called from several
// goroutines, as often as there is something new to tell.
func (c *Call) Report(percent int) {
	if c.Progress != nil {
		c.Progress(min(max(percent, 0), 100))
	}
}

// Logger returns Log, or a logger that discards.
func (c *Call) Logger() logrus.FieldLogger { return telemetry.OrDiscard(c.Log) }
