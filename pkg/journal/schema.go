// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"

	"github.com/karbor-project/karbor/pkg/database"
)

// Column types, for short.
func text(name string) database.Column { return database.Column{Name: name, Size: MaxText} }

func number(name string) database.Column {
	return database.Column{Name: name, Type: database.Int64}
}

// turn counts how often a row was held: see database.Tx.Hold.
var turn = database.Column{Name: "turn", Type: database.Int64, Null: true}

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
			number("created_at"), number("started_at"), number("ended_at"), turn,
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
		Columns: []database.Column{text("id"), text("host"), number("live_until"), number("announced_at"), turn},
	},
	{
		Name: "protection_locks", Key: []string{"name"},
		Columns: []database.Column{text("name"), text("owner"), number("live_until")},
	},
	{ // Rows that are only held: see guard.
		Name: "protection_guards", Key: []string{"id"},
		Columns: []database.Column{number("id"), turn},
	},
}

// migrations lead from one schema version to the next, the first from an empty
// database. MySQL has no transactions for definitions, so each migration must tolerate
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
