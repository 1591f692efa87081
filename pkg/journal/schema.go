// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/database"
)

// Column types, for short.
func text(name string) database.Column { return database.Column{Name: name, Size: MaxText} }
func number(name string) database.Column {
	return database.Column{Name: name, Type: database.Int64}
}

// Times are microseconds since 1970 in all tables, 0 for none.
var versionTable = database.Table{
	Name: "protection_journal_version", Key: []string{"id"},
	Columns: []database.Column{number("id"), number("version")},
}

var tables = []database.Table{
	{
		Name: "protection_operations", Key: []string{"id"},
		Columns: []database.Column{
			text("id"), {Name: "idempotency_key", Size: MaxText, Null: true}, text("kind"),
			text("subject"), number("is_exclusive"),
			text("provider_id"), text("checkpoint_id"), text("plan_id"), text("project_id"), text("record_id"),
			text("owner"), number("generation"), text("token"),
			text("state"), text("outcome"), {Name: "reason", Type: database.LongText}, text("cancelled_by"),
			number("created_at"), number("started_at"), number("ended_at"),
		},
		Indexes: []database.Index{
			{Name: "protection_operations_key", Unique: true, Columns: []string{"idempotency_key"}},
			{Name: "protection_operations_subject", Columns: []string{"subject"}},
			{Name: "protection_operations_owner", Columns: []string{"owner", "state"}},
			{Name: "protection_operations_state", Columns: []string{"state", "ended_at"}},
			{Name: "protection_operations_checkpoint", Columns: []string{"checkpoint_id"}},
			{Name: "protection_operations_created", Columns: []string{"created_at", "id"}},
		},
	},
	{ // Input in parts: servers bound the size of a statement and of a row.
		Name: "protection_inputs", Key: []string{"operation", "part"},
		Columns: []database.Column{text("operation"), number("part"), {Name: "data", Type: database.LongBytes}},
	},
	{
		Name: "protection_marks", Key: []string{"operation", "mark"},
		Columns: []database.Column{
			text("operation"), {Name: "mark", Type: database.Bytes, Size: MaxKey}, {Name: "document", Type: database.LongBytes},
		},
	},
	{
		Name: "protection_owners", Key: []string{"id"},
		Columns: []database.Column{text("id"), text("host"), number("live_until"), number("announced_at")},
	},
	{
		Name: "protection_locks", Key: []string{"name"},
		Columns: []database.Column{text("name"), text("owner"), number("live_until")},
	},
	{ // Rows that are only locked, never changed: see SQL.guard.
		Name: "protection_guards", Key: []string{"id"},
		Columns: []database.Column{number("id")},
	},
}

// migrations lead from one version of the schema to the next, the first from
// nothing. MySQL has no transactions around definitions, so each must bear
// being repeated, in part and by several workers at once.
var migrations = []func(context.Context, *database.DB) error{
	func(ctx context.Context, db *database.DB) error {
		if err := db.CreateTables(ctx, tables...); err != nil {
			return err
		}
		return db.Transact(ctx, func(ctx context.Context, tx database.Tx) error {
			for id := range guards {
				if _, err := tx.Exec(ctx, "INSERT INTO protection_guards (id) VALUES (?)"+tx.OnConflict([]string{"id"}), id); err != nil {
					return err
				}
			}
			return nil
		})
	},
}

// Sync brings the tables to the newest version, from nothing or from an older
// one. Several workers may do it at once. Tables of a version that is newer
// than this worker knows are left alone and an error. Where all tables are there,
// the user need not have the right to make any; without that, and without rights to
// read and write them, the error is a *database.RefusedError.
func (j *SQL) Sync(ctx context.Context) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	version, err := j.version(ctx, 0)
	if err == nil && version == len(migrations) {
		if err = j.db.CheckTables(ctx, tables...); err == nil {
			return nil
		}
	}
	if r := database.Refused(err); r != nil && r.Refusal == database.Missing {
		version, err = 0, j.db.CreateTables(ctx, versionTable) // migrations bear being repeated
	}
	if err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("sync journal: the tables in the database are of version %d, this worker knows versions up to %d: use a newer worker", version, len(migrations))
	}
	for version < len(migrations) {
		if err := migrations[version](ctx, j.db); err != nil {
			return fmt.Errorf("sync journal: migrate to version %d: %w", version+1, err)
		}
		if version, err = j.version(ctx, version+1); err != nil {
			return fmt.Errorf("sync journal: note its version: %w", err)
		}
	}
	if err := j.db.CheckTables(ctx, tables...); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// version raises the version to at least that number and returns it.
func (j *SQL) version(ctx context.Context, atLeast int) (version int, err error) {
	err = j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) error {
		insert := "INSERT INTO protection_journal_version (id, version) VALUES (1, 0)" + tx.OnConflict([]string{"id"})
		if _, err := tx.Exec(ctx, insert); err != nil {
			return err
		}
		raise := "UPDATE protection_journal_version SET version = ? WHERE id = 1 AND version < ?"
		if _, err := tx.Exec(ctx, raise, atLeast, atLeast); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT version FROM protection_journal_version WHERE id = 1").Scan(&version)
	})
	return version, err
}
