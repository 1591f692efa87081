// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// prepareTime bounds the part of an operation that its caller waits for.
// karbor-api gives up after 60 seconds and then does not know of the operation.
const prepareTime = 50 * time.Second

// internalError is the text for failures whose own text is not for users.
// karbor: manager.py
const internalError = "Internal error"

// Protect starts to protect a plan's resources and all that depends on them in a
// new checkpoint. It returns the checkpoint's id, or FlowError.
func (e *Engine) Protect(ctx context.Context, p *providers.Provider, plan Plan, extraInfo json.RawMessage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return "", err
	}
	if err := e.checkSize(len(plan.Resources), 0); err != nil {
		return "", err
	}
	_, packed, graphErr := e.resourceGraph(ctx, plan.Resources)
	if graphErr == nil {
		graphErr = e.checkGraph(packed)
	}
	if errors.Is(graphErr, resource.ErrTooLarge) {
		return "", graphErr
	}
	id := newID()
	in := &input{Checkpoint: id, Plan: &plan, ExtraInfo: extraInfo, Graph: packed, Answer: answerOf(id)}
	recording := ctx
	if graphErr != nil { // perhaps because ctx is over; the checkpoint tells of the failure all the same
		in.Refusal = describe(graphErr)
		var done context.CancelFunc
		recording, done = cleanup(ctx)
		defer done()
	}
	r, fresh, err := e.begin(recording, journal.Entry{
		Kind: string(protection.Protect), Subject: id, Exclusive: true, CheckpointID: id,
		ProviderID: p.ID, PlanID: plan.ID, ProjectID: plan.ProjectID,
	}, in, p)
	switch {
	case r == nil && err != nil:
		return "", err
	case err != nil:
		if graphErr != nil && r.work.(*protecting).cp != nil {
			err = graphErr
		}
		text := flowText(ctx, err)
		if r.work.(*protecting).cp == nil {
			text = "Error creating checkpoint"
		}
		r.refuse(ctx, err, text)
		return "", fault.FlowError("protect", text).WithCause(err)
	case !fresh:
		return repeated[string](ctx, e)
	}
	r.start()
	return id, nil
}

// answerOf is the JSON of a result.
func answerOf(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil // ids and pairs of them encode
	}
	return text
}

// protecting is a protection.
type protecting struct{ change }

func newProtecting(r *run) *protecting {
	return &protecting{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work: it makes the checkpoint. Made when its graph is known,
// it is written once and not twice.
func (o *protecting) open(ctx context.Context) error {
	if err := o.create(ctx, checkpoint.CreateOptions{ExtraInfo: o.input.ExtraInfo}); err != nil {
		return fmt.Errorf("create the checkpoint: %w", err)
	}
	if o.input.Refusal != "" {
		return permanent(errors.New(o.input.Refusal))
	}
	o.openRecord(ctx)
	o.flow.checkpoint, o.flow.parameters = o.cp, o.input.Plan.Parameters
	return nil
}

// build implements work.
func (o *protecting) build(context.Context) error { return o.flow.prepare(o.input.Graph) }

// complete implements work.
func (o *protecting) complete(ctx context.Context) error {
	return o.succeed(ctx, func(ctx context.Context) error { return setStatus(ctx, o.cp, o.succeeded) })
}

// flowText is what the caller may read of a failure to make a flow: the message
// of an error from the catalogue, else no more than that there was one.
func flowText(ctx context.Context, err error) string {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f.Message()
	case ctx.Err() != nil:
		return fmt.Sprintf("The flow was not ready after %.0f seconds", prepareTime.Seconds())
	}
	return internalError
}

// resourceGraph finds what the plan's resources draw in, and packs the graph.
func (e *Engine) resourceGraph(ctx context.Context, starts []resource.Resource) (*resource.Graph, string, error) {
	graph, err := e.Protectables.Graph(ctx, starts)
	if err != nil {
		return nil, "", fmt.Errorf("find the resources that depend on the plan's: %w", err)
	}
	packed, err := resource.Pack(graph)
	if err != nil {
		return nil, "", fmt.Errorf("pack the resource graph: %w", err)
	}
	return graph, packed, nil
}
