// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// CreateRestore inserts a restore and returns its id. karbor-api inserts its
// own; this serves callers that have none. CreatedAt and UpdatedAt do not
// count. A row that is already there under a given id is left as it is.
func (db *DB) CreateRestore(ctx context.Context, r *Record) (string, error) {
	return db.createRecord(ctx, restores, r)
}

// CreateVerification inserts a verification and returns its id, like CreateRestore.
func (db *DB) CreateVerification(ctx context.Context, v *Record) (string, error) {
	return db.createRecord(ctx, verifications, v)
}

// Check says what does not fit into its column.
func (r *Record) Check() error {
	return checkColumns(restores.name, []assignment{
		{"id", r.ID}, {"project_id", r.ProjectID}, {"provider_id", r.ProviderID}, {"checkpoint_id", r.CheckpointID},
		{"restore_target", r.RestoreTarget}, {"status", r.Status}, {"parameters", string(r.Parameters)},
	})
}

func (db *DB) createRecord(ctx context.Context, t recordTable, r *Record) (string, error) {
	id := cmp.Or(r.ID, db.options.NewID())
	parameters, err := jsonColumn(r.Parameters)
	if err != nil {
		return "", fmt.Errorf("write parameters of %s %s: %w", t.what, id, err)
	}
	values := []assignment{
		{"created_at", db.now()},
		{"deleted", false},
		{"id", id},
		{"project_id", r.ProjectID},
		{"provider_id", r.ProviderID},
		{"checkpoint_id", r.CheckpointID},
		{"status", nullable(r.Status)},
		{"parameters", parameters},
		{"resources_status", db.dictColumn(r.ResourcesStatus)},
		{"resources_reason", db.dictColumn(r.ResourcesReason)},
	}
	if t.name == restores.name {
		values = append(values, assignment{"restore_target", nullable(r.RestoreTarget)})
	}
	query, args := db.insertQuery(t.name, values)
	err = db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil && db.classify(err) != duplicate {
		return "", wrap(err, err, "insert "+t.what, id)
	}
	return id, nil
}

// jsonColumn is a JSON value as Python writes it; none and the empty object
// are NULL.
func jsonColumn(raw json.RawMessage) (sql.NullString, error) {
	if len(raw) == 0 {
		return sql.NullString{}, nil
	}
	text, err := pyjson.Append(nil, raw)
	if err != nil {
		return sql.NullString{}, err
	}
	if string(text) == "{}" || string(text) == "null" {
		return sql.NullString{}, nil
	}
	return nullable(string(text)), nil
}

func (db *DB) dictColumn(m map[string]string) sql.NullString {
	if len(m) == 0 {
		return sql.NullString{}
	}
	text, _ := mergeColumn("", m, db.dialect.longText()) // fails on old values only
	return nullable(text)
}
