// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// reading is what a restore and a verification have in common: the record of
// the database, and the checkpoint that it is about.
type reading struct {
	operation.Record
	providerID   string
	checkpointID string
}

// restore starts to restore a checkpoint and answers null. restore_auth is
// accepted and not used, as in the original; it may hold a password.
func (m *Manager) restore(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("restore")
	a.object("restore_auth")
	if err := a.done(); err != nil {
		return nil, err
	}
	r, err := decodeReading(value, "Restore")
	if err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, protection.Restore)
	if err == nil {
		err = m.checkRecord(ctx, database.Restores, &r)
	}
	if err != nil {
		return nil, err
	}
	return nil, m.operations.Restore(ctx, a.message, p, cp, r.Record)
}

// verification starts to verify a checkpoint and answers null.
func (m *Manager) verification(ctx context.Context, a *arguments) (any, error) {
	value := a.raw("verification")
	if err := a.done(); err != nil {
		return nil, err
	}
	r, err := decodeReading(value, "Verification")
	if err != nil {
		return nil, err
	}
	p, cp, err := m.prepareReading(ctx, r, protection.Verify)
	if err == nil {
		err = m.checkRecord(ctx, database.Verifications, &r)
	}
	if err != nil {
		return nil, err
	}
	return nil, m.operations.Verify(ctx, a.message, p, cp, r.Record)
}

// prepareReading makes the checks in the order of the original: the provider,
// the parameters, the checkpoint, access, status.
func (m *Manager) prepareReading(ctx context.Context, r reading, kind protection.Kind) (*providers.Provider, *checkpoint.Checkpoint, error) {
	p, err := m.providers.Get(r.providerID)
	if err != nil {
		return nil, nil, err
	}
	if err := checkParameters(p, kind, r.Parameters); err != nil {
		return nil, nil, err
	}
	cp, err := readable(ctx, p, r.checkpointID)
	return p, cp, err
}

// decodeReading reads a Restore or Verification object.
// karbor: objects/restore.py, objects/verification.py
func decodeReading(value json.RawMessage, name string) (reading, error) {
	fields, err := decodeObject(value, name)
	if err != nil {
		return reading{}, fault.InvalidInput(err.Error())
	}
	r, err := readingOf(fields)
	if err != nil {
		return reading{}, fault.InvalidInput(fmt.Sprintf("%s: %v", name, err))
	}
	return r, nil
}

func readingOf(fields map[string]json.RawMessage) (reading, error) {
	var r reading
	if len(fields) == 0 {
		return r, errors.New("it is missing")
	}
	for _, f := range []struct {
		name     string
		field    *string
		required bool
	}{
		{"id", &r.ID, true}, {"project_id", &r.ProjectID, false},
		{"provider_id", &r.providerID, true}, {"checkpoint_id", &r.checkpointID, true},
	} {
		var err error
		if *f.field, err = textField(fields, f.name); err != nil {
			return r, err
		}
		if f.required && *f.field == "" {
			return r, fmt.Errorf("%s is missing", f.name)
		}
	}
	var err error
	r.Parameters, err = parametersOf(fields["parameters"])
	return r, err
}

// checkRecord refuses a record of another project or checkpoint, by what the request
// says of it and by its row: the operation would write into it. One that is not there,
// which no operation could bring to its end, has the same answer.
func (m *Manager) checkRecord(ctx context.Context, kind database.RecordKind, r *reading) error {
	var err error
	if r.ProjectID, err = projectFor(ctx, r.ProjectID); err != nil {
		return err
	}
	row, err := m.records.Get(ctx, kind, r.ID)
	missing := fault.Is(err, "RestoreNotFound") || fault.Is(err, "VerificationNotFound")
	switch {
	case err != nil && !missing:
		return err
	case missing, row.ProjectID != r.ProjectID, row.CheckpointID != r.checkpointID:
		return fault.InvalidInput("the id " + r.ID + " is that of no record of this project and checkpoint").WithCause(err)
	}
	return nil
}
