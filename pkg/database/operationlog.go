// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
)

// OperationLog is a row of operation_logs, which users list. Empty texts and
// zero times are NULL.
type OperationLog struct {
	ID                   string // empty: one is made
	ProjectID            string
	OperationType        string // protect, restore, delete, copy or verify
	CheckpointID         string
	PlanID               string
	ProviderID           string
	RestoreID            string
	ScheduledOperationID string
	Status               string
	StartedAt            time.Time
	EndedAt              time.Time
	ErrorInfo            string
	ExtraInfo            string

	CreatedAt time.Time // set by the database package
	UpdatedAt time.Time // likewise
}

// Check says what does not fit into its column. CreateOperationLog would leave it
// out.
func (l *OperationLog) Check() error { return checkColumns("operation_logs", l.ids()) }

func (l *OperationLog) ids() []assignment {
	return []assignment{
		{"project_id", l.ProjectID}, {"operation_type", l.OperationType}, {"checkpoint_id", l.CheckpointID}, {"plan_id", l.PlanID},
		{"provider_id", l.ProviderID}, {"restore_id", l.RestoreID}, {"scheduled_operation_id", l.ScheduledOperationID},
		{"status", l.Status},
	}
}

// OperationLogUpdate is a change of an OperationLog; nil leaves a column.
type OperationLogUpdate struct {
	Status    *string
	ErrorInfo *string
	EndedAt   *time.Time
}

// maxText is the number of bytes that a TEXT column of MySQL holds.
const maxText = 65535

// CreateOperationLog inserts a row and returns its id. A row that is already
// there under a given id is left as it is, so that a repeated call does no
// harm. ErrorInfo is cut where the column ends; an id that does not fit is none, for
// a part of it would be another one.
func (db *DB) CreateOperationLog(ctx context.Context, l *OperationLog) (string, error) {
	id := cmp.Or(l.ID, db.options.NewID())
	values := []assignment{
		{"created_at", db.now()},
		{"deleted", false},
		{"id", id},
		{"started_at", db.nullableTime(l.StartedAt)},
		{"ended_at", db.nullableTime(l.EndedAt)},
		{"error_info", nullable(db.fit(l.ErrorInfo))},
		{"extra_info", nullable(db.fit(l.ExtraInfo))},
	}
	for _, text := range l.ids() {
		value := nullable(text.value.(string))
		if misfit("operation_logs", text.column, value.String) != "" {
			value.Valid = false
		}
		if text.column == "project_id" || text.column == "operation_type" { // never NULL
			value.Valid = true
		}
		values = append(values, assignment{text.column, value})
	}
	query, args := db.insertQuery("operation_logs", values)
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil && db.classify(err) != duplicate {
		return "", wrap(err, err, "insert operation log", id)
	}
	return id, nil
}

// UpdateOperationLog changes a row. If the change changes nothing, the row is
// not touched. Errors: fault.OperationLogNotFound.
func (db *DB) UpdateOperationLog(ctx context.Context, id string, u OperationLogUpdate) error {
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var status, info sql.NullString
		var ended sql.NullTime
		err := db.read(ctx, tx, "operation_logs", "status, error_info, ended_at", id, true, &status, &info, &ended)
		if err != nil {
			return err
		}
		var changes []assignment
		if u.Status != nil && (!status.Valid || status.String != *u.Status) {
			changes = append(changes, assignment{"status", *u.Status})
		}
		if u.ErrorInfo != nil {
			text := db.fit(*u.ErrorInfo)
			if !info.Valid || info.String != text {
				changes = append(changes, assignment{"error_info", text})
			}
		}
		if u.EndedAt != nil && (!ended.Valid || !ended.Time.Equal(u.EndedAt.Truncate(time.Microsecond))) {
			changes = append(changes, assignment{"ended_at", db.timestamp(*u.EndedAt)})
		}
		return db.write(ctx, tx, "operation_logs", id, changes)
	})
	return wrap(err, fault.OperationLogNotFound(id), "update operation log", id)
}

// CloseOperationLogs closes the rows of a checkpoint's operations of the given
// type that are open, that is, have no end. It returns their number.
func (db *DB) CloseOperationLogs(ctx context.Context, checkpointID, operationType, status, errorInfo string, ended time.Time) (int, error) {
	closed := 0
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		query := db.dialect.rebind("UPDATE operation_logs SET updated_at = ?, status = ?, error_info = ?, ended_at = ? " +
			"WHERE checkpoint_id = ? AND operation_type = ? AND ended_at IS NULL AND deleted = ?")
		result, err := tx.ExecContext(ctx, query, db.now(), status, nullable(db.fit(errorInfo)), db.timestamp(ended),
			checkpointID, operationType, false)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		closed = int(n)
		return err
	})
	return closed, wrap(err, err, "close operation logs of checkpoint", checkpointID)
}

// GetOperationLog reads a row. Errors: fault.OperationLogNotFound.
func (db *DB) GetOperationLog(ctx context.Context, id string) (*OperationLog, error) {
	l := &OperationLog{ID: id}
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return db.scanOperationLog(ctx, tx, l)
	})
	if err != nil {
		return nil, wrap(err, fault.OperationLogNotFound(id), "read operation log", id)
	}
	return l, nil
}

func (db *DB) scanOperationLog(ctx context.Context, tx *sql.Tx, l *OperationLog) error {
	texts := []struct {
		column string
		to     *string
	}{
		{"project_id", &l.ProjectID}, {"operation_type", &l.OperationType}, {"checkpoint_id", &l.CheckpointID},
		{"plan_id", &l.PlanID}, {"provider_id", &l.ProviderID}, {"restore_id", &l.RestoreID},
		{"scheduled_operation_id", &l.ScheduledOperationID}, {"status", &l.Status},
		{"error_info", &l.ErrorInfo}, {"extra_info", &l.ExtraInfo},
	}
	times := []struct {
		column string
		to     *time.Time
	}{{"started_at", &l.StartedAt}, {"ended_at", &l.EndedAt}, {"created_at", &l.CreatedAt}, {"updated_at", &l.UpdatedAt}}

	var columns []string
	var to []any
	for _, t := range texts {
		columns, to = append(columns, t.column), append(to, new(sql.NullString))
	}
	for _, t := range times {
		columns, to = append(columns, t.column), append(to, new(sql.NullTime))
	}
	if err := db.read(ctx, tx, "operation_logs", strings.Join(columns, ", "), l.ID, false, to...); err != nil {
		return err
	}
	for i, t := range texts {
		*t.to = to[i].(*sql.NullString).String
	}
	for i, t := range times {
		*t.to = to[len(texts)+i].(*sql.NullTime).Time.UTC()
	}
	return nil
}

// insertQuery makes an INSERT of one row.
func (db *DB) insertQuery(table string, values []assignment) (string, []any) {
	var columns, marks []string
	var args []any
	for _, v := range values {
		columns = append(columns, db.dialect.quote(v.column))
		marks = append(marks, "?")
		args = append(args, v.value)
	}
	query := "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")"
	return db.dialect.rebind(query), args
}

func (db *DB) nullableTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return db.timestamp(t)
}

// fit makes a text storable in a column of kind longText.
func (db *DB) fit(s string) string {
	s = db.dialect.text(strings.ToValidUTF8(s, "\ufffd"))
	return cutText(s, maxText)
}
