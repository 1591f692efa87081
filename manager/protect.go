// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
	"github.com/karbor-project/karbor/providers"
)

// protect starts to protect a plan's resources and answers the id of the new
// checkpoint.
func (m *Manager) protect(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("plan")
	properties := a.object("checkpoint_properties")
	if err := a.done(); err != nil {
		return nil, err
	}
	plan, err := decodePlan(value, "the protection plan is None", m.operations.MaxResources)
	if err != nil {
		return nil, err
	}
	return m.protectPlan(ctx, a.message, plan, properties)
}

func (m *Manager) protectPlan(ctx context.Context, message operation.Message, plan operation.Plan, properties map[string]json.RawMessage) (any, error) {
	p, err := m.providers.Get(plan.ProviderID)
	if err != nil {
		return nil, err
	}
	if err := checkOptions(p, plan.Parameters); err != nil {
		return nil, err
	}
	if plan.ProjectID, err = projectFor(ctx, plan.ProjectID); err != nil {
		return nil, err
	}
	extraInfo, err := checkpointProperties(properties)
	if err != nil {
		return nil, err
	}
	id, err := m.operations.Protect(ctx, message, p, plan, extraInfo)
	if err != nil {
		return nil, err
	}
	return id, nil
}

// checkpointProperties returns the one property that matters: extra_info, a
// JSON object in a string. The others repeat the plan, or must be what a new
// checkpoint has.
func checkpointProperties(properties map[string]json.RawMessage) (json.RawMessage, error) {
	status, err := textField(properties, "status")
	if err != nil {
		return nil, fault.InvalidInput("checkpoint_properties: " + err.Error())
	}
	if status != "" && checkpoint.Status(status) != checkpoint.Protecting {
		return nil, fault.InvalidInput(`checkpoint_properties: status: want "protecting"`)
	}
	extra := properties["extra_info"]
	if isNull(extra) {
		return nil, nil
	}
	var text string
	var info map[string]json.RawMessage
	if err := checkReadable(extra, pyjson.MaxDepth); err != nil {
		return nil, fault.InvalidInput("checkpoint_properties: extra_info: " + err.Error())
	}
	if json.Unmarshal(extra, &text) != nil || json.Unmarshal([]byte(text), &info) != nil {
		return nil, fault.InvalidInput("checkpoint_properties: extra_info: want a string with a JSON object in it")
	}
	return extra, nil
}

// copy starts to copy the available checkpoints of a plan and answers a list of
// operation.Pair.
func (m *Manager) copy(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("plan")
	if err := a.done(); err != nil {
		return nil, err
	}
	plan, err := decodePlan(value, "The protection plan is None", m.operations.MaxResources)
	if err != nil {
		return nil, err
	}
	return m.copyPlan(ctx, a.message, plan)
}

func (m *Manager) copyPlan(ctx context.Context, message operation.Message, plan operation.Plan) (any, error) {
	p, err := m.providers.Get(plan.ProviderID)
	if err != nil {
		return nil, err
	}
	if plan.ProjectID, err = projectFor(ctx, plan.ProjectID); err != nil {
		return nil, err
	}
	sources, err := m.checkpointsOf(ctx, p, plan.ID, operation.Copyable)
	if err != nil {
		return nil, fault.FlowError("copy", "Failed to get checkpoints").WithCause(err)
	}
	pairs, err := m.operations.Copy(ctx, message, p, plan, sources)
	if err != nil {
		return nil, err
	}
	return pairs, nil
}

// checkpointsOf returns the caller's checkpoints of a plan that are wanted, the
// oldest first.
func (m *Manager) checkpointsOf(ctx context.Context, p *providers.Provider, planID string,
	want func(*checkpoint.Checkpoint) bool) ([]*checkpoint.Checkpoint, error) {
	var wanted []*checkpoint.Checkpoint
	err := p.Checkpoints.Each(ctx, checkpoint.ListOptions{
		ProjectID: requestcontext.From(ctx).ProjectID, PlanID: planID}, func(cp *checkpoint.Checkpoint) error {
		if requestcontext.From(ctx).CanAccess(cp.ProjectID()) && want(cp) {
			wanted = append(wanted, cp)
		}
		return nil
	})
	return wanted, err
}
