// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// RecordNamespace is the RPC namespace of the methods that answer the records
// of restores and verifications, for callers that have no karbor-api to ask.
const RecordNamespace = "records"

// record is a restore or verification as these methods answer it.
type record struct {
	ID              string            `json:"id"`
	ProjectID       string            `json:"project_id"`
	ProviderID      string            `json:"provider_id"`
	CheckpointID    string            `json:"checkpoint_id"`
	Status          string            `json:"status"`
	Parameters      json.RawMessage   `json:"parameters,omitempty"`
	ResourcesStatus map[string]string `json:"resources_status"`
	ResourcesReason map[string]string `json:"resources_reason"`
}

// showRestore answers the record of a restore, or RestoreNotFound.
func (m *Manager) showRestore(ctx context.Context, a *arguments) (any, error) {
	id := a.required("restore_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.showRecord(ctx, database.Restores, id)
}

// showVerification answers the record of a verification, or VerificationNotFound.
func (m *Manager) showVerification(ctx context.Context, a *arguments) (any, error) {
	id := a.required("verification_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.showRecord(ctx, database.Verifications, id)
}

// showRecord hides the records of other projects: their ids are not known to
// the caller.
func (m *Manager) showRecord(ctx context.Context, kind database.RecordKind, id string) (any, error) {
	r, err := m.records.Get(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(r.ProjectID) {
		return nil, kind.NotFound(id)
	}
	return record{ID: r.ID, ProjectID: r.ProjectID, ProviderID: r.ProviderID, CheckpointID: r.CheckpointID, Status: r.Status,
		Parameters: r.Parameters, ResourcesStatus: r.ResourcesStatus, ResourcesReason: r.ResourcesReason}, nil
}
