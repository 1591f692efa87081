// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
)

// Record is a row of restores or verifications. Empty texts and zero times
// are NULL.
type Record struct {
	ID            string
	ProjectID     string
	ProviderID    string
	CheckpointID  string
	RestoreTarget string // of restores only
	Status        string
	Parameters    json.RawMessage

	// ResourcesStatus and ResourcesReason have keys of the form type#id.
	ResourcesStatus map[string]string
	ResourcesReason map[string]string

	CreatedAt time.Time
	UpdatedAt time.Time
}

// RecordUpdate is a change of a Record.
type RecordUpdate struct {
	// Status is the new status, nil to leave it.
	Status *string
	// ResourcesStatus and ResourcesReason are entries to set; those that are
	// not named stay. Updates of one record by different workers come one
	// after the other, so that none loses an entry. Where the column has no room
	// for all, values are cut and what many resources have in common is counted;
	// the counts are right for who sets all entries each time.
	ResourcesStatus map[string]string
	ResourcesReason map[string]string
}

// recordTable is one of the two tables of records.
type recordTable struct {
	name     string
	what     string
	target   string // expression for the restore target
	notFound func(id string) *fault.Error
}

var (
	restores      = recordTable{"restores", "restore", "restore_target", fault.RestoreNotFound}
	verifications = recordTable{"verifications", "verification", "NULL", fault.VerificationNotFound}
)

// GetRestore reads a restore. Errors: fault.RestoreNotFound.
func (db *DB) GetRestore(ctx context.Context, id string) (*Record, error) {
	return db.record(ctx, restores, id)
}

// GetVerification reads a verification. Errors: fault.VerificationNotFound.
func (db *DB) GetVerification(ctx context.Context, id string) (*Record, error) {
	return db.record(ctx, verifications, id)
}

// UpdateRestore changes a restore. If the change changes nothing, the row is
// not touched. Errors: fault.RestoreNotFound.
func (db *DB) UpdateRestore(ctx context.Context, id string, u RecordUpdate) error {
	return db.updateRecord(ctx, restores, id, u)
}

// UpdateVerification changes a verification. If the change changes nothing,
// the row is not touched. Errors: fault.VerificationNotFound.
func (db *DB) UpdateVerification(ctx context.Context, id string, u RecordUpdate) error {
	return db.updateRecord(ctx, verifications, id, u)
}

func (db *DB) record(ctx context.Context, t recordTable, id string) (*Record, error) {
	var r *Record
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		r, err = db.scanRecord(ctx, tx, t, id)
		return err
	})
	if err != nil {
		return nil, wrap(err, t.notFound(id), "read "+t.what, id)
	}
	return r, nil
}

func (db *DB) scanRecord(ctx context.Context, tx *sql.Tx, t recordTable, id string) (*Record, error) {
	var project, provider, checkpoint, target, status, parameters, statuses, reasons sql.NullString
	var created, updated sql.NullTime
	columns := "project_id, provider_id, checkpoint_id, " + t.target + ", status, parameters, resources_status, resources_reason, created_at, updated_at"
	err := db.read(ctx, tx, t.name, columns, id, false,
		&project, &provider, &checkpoint, &target, &status, &parameters, &statuses, &reasons, &created, &updated)
	if err != nil {
		return nil, err
	}
	r := &Record{
		ID: id, ProjectID: project.String, ProviderID: provider.String, CheckpointID: checkpoint.String,
		RestoreTarget: target.String, Status: status.String,
		CreatedAt: created.Time.UTC(), UpdatedAt: updated.Time.UTC(),
	}
	if parameters.String != "" {
		r.Parameters = json.RawMessage(parameters.String)
	}
	for _, column := range []struct {
		name string
		text string
		to   *map[string]string
	}{{"resources_status", statuses.String, &r.ResourcesStatus}, {"resources_reason", reasons.String, &r.ResourcesReason}} {
		d, err := parseDict(column.text)
		if err != nil {
			return nil, &RefusedError{Invalid, fmt.Errorf("column %s: %w", column.name, err)}
		}
		*column.to = d.strings()
	}
	return r, nil
}

func (db *DB) updateRecord(ctx context.Context, t recordTable, id string, u RecordUpdate) error {
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var status, statuses, reasons sql.NullString
		err := db.read(ctx, tx, t.name, "status, resources_status, resources_reason", id, true, &status, &statuses, &reasons)
		if err != nil {
			return err
		}
		var changes []assignment
		if u.Status != nil && (!status.Valid || status.String != *u.Status) {
			changes = append(changes, assignment{"status", *u.Status})
		}
		for _, column := range []struct {
			name    string
			old     string
			entries map[string]string
		}{{"resources_status", statuses.String, u.ResourcesStatus}, {"resources_reason", reasons.String, u.ResourcesReason}} {
			if len(column.entries) == 0 {
				continue
			}
			text, err := mergeColumn(column.old, column.entries, db.dialect.longText())
			if err != nil {
				return fmt.Errorf("column %s: %w", column.name, err)
			}
			if text != column.old {
				changes = append(changes, assignment{column.name, text})
			}
		}
		return db.write(ctx, tx, t.name, id, changes)
	})
	return wrap(err, t.notFound(id), "update "+t.what, id)
}
