// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
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
	pairs := []Pair{}
	if len(sources) == 0 {
		return pairs, nil
	}
	graph, packed, err := e.resourceGraph(ctx, plan.Resources)
	if err != nil {
		return nil, copyError(ctx, err)
	}
	if err := canCopy(p, graph); err != nil {
		return nil, copyError(ctx, err)
	}
	for _, source := range sources {
		pairs = append(pairs, Pair{Source: source.ID(), Copy: newID()})
	}
	var runs []*run
	for i, pair := range pairs {
		// The message's key is that of the first one, which knows the answer.
		request := requestOf(ctx)
		key := request.Key
		if i > 0 && key != "" {
			key = fmt.Sprintf("%s#%d", key, i)
		}
		r, fresh, err := e.begin(ctx, journal.Entry{
			Key: key, Kind: string(protection.Copy), Subject: pair.Source, CheckpointID: pair.Copy,
			ProviderID: p.ID, PlanID: plan.ID, ProjectID: plan.ProjectID,
		}, &input{Checkpoint: pair.Copy, Source: pair.Source, Plan: &plan, Graph: packed, Answer: answerOf(pairs)}, p)
		if err == nil && !fresh {
			return e.repeatedCopy(ctx, runs)
		}
		if r != nil {
			runs = append(runs, r)
		}
		if err != nil {
			for _, made := range runs {
				made.refuse(ctx, err, flowText(ctx, err))
			}
			return nil, copyError(ctx, err)
		}
	}
	for _, r := range runs {
		r.start()
	}
	return pairs, nil
}

// repeatedCopy answers a message whose first delivery got ahead meanwhile.
func (e *Engine) repeatedCopy(ctx context.Context, runs []*run) ([]Pair, error) {
	for _, r := range runs {
		r.start() // they stand in the journal
	}
	answer, _, err := e.Answered(ctx)
	var pairs []Pair
	if err == nil && json.Unmarshal(answer, &pairs) != nil {
		err = fault.KarborException("The request was answered before in another way")
	}
	return pairs, err
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
	o.cp, err = o.provider.Checkpoints.Create(ctx, checkpoint.CreateOptions{
		ID: o.input.Checkpoint, Plan: o.input.Plan.stored(), Status: checkpoint.WaitCopying, ExtraInfo: json.RawMessage("{}"),
		ResourceGraph: o.input.Graph, Resumed: o.resumed,
	})
	if err != nil {
		return fmt.Errorf("create the copy of checkpoint %s: %w", source.ID(), err)
	}
	o.openRecord(ctx)
	o.log = o.log.WithField("source", source.ID())
	o.flow.log = o.log
	o.flow.checkpoint, o.flow.copied, o.flow.parameters = source, o.cp, o.input.Plan.Parameters
	if o.flow.graph, err = resource.Unpack(o.input.Graph); err != nil {
		return permanent(fmt.Errorf("read the resource graph: %w", err))
	}
	return permanent(o.flow.build())
}

// begin implements work.
func (o *copying) begin(ctx context.Context) error {
	if o.cp.Status() == checkpoint.Available {
		return nil // an earlier run has come to the end
	}
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
