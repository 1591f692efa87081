// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// Pair names a checkpoint and its copy.
type Pair struct {
	Source string `json:"checkpoint_protect_id"`
	Copy   string `json:"checkpoint_copy_id"`
}

// copyFinished is what a finished copy carries in extra_info, so that it is not
// copied in its turn. karbor: flows/copy.py
const copyFinished = "finished"

// Copyable tells whether a checkpoint is one that Copy would copy: available,
// and no copy itself.
func Copyable(cp *checkpoint.Checkpoint) bool {
	if cp.Status() != checkpoint.Available {
		return false
	}
	info := cp.ExtraInfo()
	var text string
	if json.Unmarshal(info, &text) == nil {
		info = json.RawMessage(text)
	}
	var fields struct {
		CopyStatus string `json:"copy_status"`
	}
	return json.Unmarshal(info, &fields) != nil || fields.CopyStatus != copyFinished
}

// Copy creates a copy of each source checkpoint and starts to fill them. Nothing
// is created unless every plugin concerned can copy. It fails with FlowError.
func (e *Engine) Copy(ctx context.Context, p *providers.Provider, plan Plan, sources []*checkpoint.Checkpoint) ([]Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	if err := plan.stored().CheckIDs(); err != nil {
		return nil, err
	}
	if err := e.checkSize(len(plan.Resources), 0); err != nil {
		return nil, err
	}
	pairs, begun, err := e.begunCopies(ctx)
	if err != nil {
		return nil, err
	}
	if !begun {
		for _, source := range sources {
			pairs = append(pairs, Pair{Source: source.ID(), Copy: newID()})
		}
	}
	if len(pairs) == 0 {
		return []Pair{}, nil
	}
	graph, packed, err := e.resourceGraph(ctx, plan.Resources)
	if err == nil {
		err = e.checkGraph(packed)
	}
	switch {
	case errors.Is(err, resource.ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, copyError(ctx, err)
	}
	if err := canCopy(p, graph); err != nil {
		return nil, copyError(ctx, err)
	}
	var runs []*run
	var stopping error
	for i, pair := range pairs {
		r, fresh, err := e.begin(withCopyRequest(ctx, i, len(pairs)), journal.Entry{
			Kind: string(protection.Copy), Subject: pair.Source, CheckpointID: pair.Copy,
			ProviderID: p.ID, PlanID: plan.ID, ProjectID: plan.ProjectID,
		}, &input{Checkpoint: pair.Copy, Source: pair.Source, Plan: &plan, Graph: packed, Answer: answerOf(pairs)}, p)
		switch {
		case errors.Is(err, ErrStopping): // on record all the same, and so shall be the others
			stopping = err
		case err == nil && !fresh && !begun && len(pairs) == 1:
			return repeated[[]Pair](ctx, e)
		case err == nil && !fresh && !begun && i == 0: // another delivery got ahead, with pairs of its own
			return e.Copy(ctx, p, plan, sources)
		case r != nil:
			runs = append(runs, r)
		}
		if err != nil && stopping == nil {
			for _, made := range runs {
				made.refuse(ctx, err, flowText(ctx, err))
			}
			return nil, copyError(ctx, err)
		}
	}
	for _, r := range runs {
		r.start()
	}
	return pairs, stopping
}

// withCopyRequest is the request of one copy of several. The message is answered,
// and nobody need keep it, when the last copy is on record; so that copy has the
// message's key, and the others have keys of their own.
func withCopyRequest(ctx context.Context, i, of int) context.Context {
	request := requestOf(ctx)
	if i == of-1 {
		return ctx
	}
	return WithRequest(ctx, Request{Key: copyKey(request.Key, i)})
}

func copyKey(key string, i int) string {
	if key == "" {
		return ""
	}
	return fmt.Sprintf("%s#%d", key, i)
}

// begunCopies finds what an earlier delivery of the message was going to copy,
// whose worker died before all copies were on record.
func (e *Engine) begunCopies(ctx context.Context) (pairs []Pair, begun bool, err error) {
	key := copyKey(requestOf(ctx).Key, 0)
	if key == "" {
		return nil, false, nil
	}
	answer, begun, err := e.Answered(WithRequest(ctx, Request{Key: key}))
	if err != nil || !begun {
		return nil, false, err
	}
	pairs, err = decodeAnswer[[]Pair](answer)
	return pairs, true, err
}

func copyError(ctx context.Context, err error) error {
	return fault.FlowError("copy", flowText(ctx, err)).WithCause(err)
}

// canCopy asks every plugin before anything is written.
func canCopy(p Provider, graph *resource.Graph) error {
	f := flow{kind: protection.Copy, provider: p}
	for _, node := range graph.Nodes() {
		if _, err := f.operation(f.kind, node.Resource); err != nil {
			if withoutOperation(err) {
				return fault.KarborException(fmt.Sprintf("The plugin for %s can not copy.", node.Type)).WithCause(err)
			}
			return err
		}
	}
	return nil
}

// copying is one copy.
type copying struct{ change }

func newCopying(r *run) *copying {
	return &copying{change{run: r, succeeded: checkpoint.Available, failed: checkpoint.Error}}
}

// open implements work: it makes the copy.
func (o *copying) open(ctx context.Context) error {
	source, err := o.provider.Checkpoints.Get(ctx, o.input.Source)
	if err != nil {
		return err
	}
	if err := o.create(ctx, checkpoint.CreateOptions{Status: checkpoint.WaitCopying, ExtraInfo: json.RawMessage("{}")}); err != nil {
		return fmt.Errorf("create the copy of checkpoint %s: %w", source.ID(), err)
	}
	o.openRecord(ctx)
	o.log = o.log.WithField("source", source.ID())
	o.flow.log = o.log
	o.flow.checkpoint, o.flow.copied, o.flow.parameters = source, o.cp, o.input.Plan.Parameters
	return nil
}

// build implements work.
func (o *copying) build(context.Context) error { return o.flow.prepare(o.input.Graph) }

// begin implements work.
func (o *copying) begin(ctx context.Context) error {
	if err := setStatus(ctx, o.cp, checkpoint.Copying); err != nil {
		return err
	}
	o.record.set(ctx, string(checkpoint.Copying))
	return nil
}

// complete implements work.
func (o *copying) complete(ctx context.Context) error {
	return o.succeed(ctx, func(ctx context.Context) error {
		o.cp.SetExtraInfo(json.RawMessage(`"{\"copy_status\": \"` + copyFinished + `\"}"`))
		return setStatus(ctx, o.cp, o.succeeded)
	})
}
