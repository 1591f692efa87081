// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// executeOperation is the call of the system's first description: a backup plan
// and what to do with it. It serves callers that have no karbor-api, and so
// makes the records that karbor-api would have made.
//
//	protect   answers the id of the new checkpoint
//	restore   answers the id of the new restore
//	verify    answers the id of the new verification
//	copy      answers pairs of checkpoints
//	delete    answers null
//
// restore, verify and delete are about the checkpoint that the plan's member
// checkpoint_id names; without one, restore and verify take the plan's newest
// available checkpoint.
func (m *Manager) executeOperation(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("backup_plan")
	action := strings.ToLower(a.required("action"))
	if err := a.done(); err != nil {
		return nil, err
	}
	fields, err := decodeObject(value, "Plan")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if len(fields) == 0 {
		return nil, fault.InvalidPlan("the backup plan is missing")
	}
	switch action {
	case "protect", "copy":
		plan, err := planOf(fields, m.operations.MaxResources)
		if err != nil {
			return nil, fault.InvalidPlan(err.Error())
		}
		if action == "copy" {
			return m.copyPlan(ctx, a.message, plan)
		}
		return m.protectPlan(ctx, a.message, plan, map[string]json.RawMessage{"extra_info": fields["extra_info"]})
	case "restore":
		return m.executeReading(ctx, a.message, fields, protection.Restore)
	case "verify":
		return m.executeReading(ctx, a.message, fields, protection.Verify)
	case "delete":
		return m.delete(ctx, newArguments(map[string]json.RawMessage{
			"provider_id": fields["provider_id"], "checkpoint_id": fields["checkpoint_id"]}, a.message))
	}
	return nil, fault.InvalidInput("argument action: want protect, restore, verify, copy or delete")
}

// executeReading starts a restore or verification that makes its record itself,
// and answers the record's id.
func (m *Manager) executeReading(ctx context.Context, message operation.Message, fields map[string]json.RawMessage, kind protection.Kind) (any, error) {
	planID, err := textField(fields, "id")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	fields = maps.Clone(fields)
	if isNull(fields["checkpoint_id"]) {
		if fields["checkpoint_id"], err = m.newestCheckpoint(ctx, fields, planID); err != nil {
			return nil, err
		}
	}
	id := uuid.NewString()
	fields["id"] = json.RawMessage(`"` + id + `"`)
	r, err := readingOf(fields)
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if r.ProjectID, err = projectFor(ctx, r.ProjectID); err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, kind)
	if err != nil {
		return nil, err
	}
	r.New = &database.Record{ID: id, ProjectID: r.ProjectID, ProviderID: r.providerID, CheckpointID: r.checkpointID,
		Status: "in_progress", Parameters: fields["parameters"]}
	start := m.operations.Restore
	if kind == protection.Verify {
		start = m.operations.Verify
	}
	return id, start(ctx, message, p, cp, r.Record)
}

// newestCheckpoint returns the id, as JSON, of the plan's newest checkpoint that
// is available.
func (m *Manager) newestCheckpoint(ctx context.Context, fields map[string]json.RawMessage, planID string) (json.RawMessage, error) {
	providerID, err := textField(fields, "provider_id")
	if err != nil {
		return nil, fault.InvalidPlan(err.Error())
	}
	if planID == "" {
		return nil, fault.InvalidPlan("it names neither a checkpoint_id nor the id of a plan")
	}
	p, err := m.providers.Get(providerID)
	if err != nil {
		return nil, err
	}
	found, err := m.checkpointsOf(ctx, p, planID, func(cp *checkpoint.Checkpoint) bool {
		return cp.Status() == checkpoint.Available
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.InvalidPlan("the plan has no available checkpoint")
	}
	return json.RawMessage(`"` + found[len(found)-1].ID() + `"`), nil
}
