// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// assignment sets a column to a new value.
type assignment struct {
	column string
	value  any
}

// read runs a SELECT of columns of one row that is not marked as deleted, and
// scans it. It returns sql.ErrNoRows if there is none.
func (db *DB) read(ctx context.Context, tx *sql.Tx, table, columns, id string, lock bool, to ...any) error {
	query := "SELECT " + columns + " FROM " + table + " WHERE id = ? AND deleted = ?"
	if lock {
		query += db.dialect.forUpdate()
	}
	return tx.QueryRowContext(ctx, db.dialect.rebind(query), id, false).Scan(to...)
}

// write updates a row. With nothing to assign it leaves the row, updated_at
// included, as it is.
func (db *DB) write(ctx context.Context, tx *sql.Tx, table string, id any, assignments []assignment) error {
	if len(assignments) == 0 {
		return nil
	}
	var set strings.Builder
	set.WriteString("updated_at = ?")
	args := []any{db.now()}
	for _, a := range assignments {
		set.WriteString(", " + a.column + " = ?")
		args = append(args, a.value)
	}
	query := "UPDATE " + table + " SET " + set.String() + " WHERE id = ?"
	_, err := tx.ExecContext(ctx, db.dialect.rebind(query), append(args, id)...)
	return err
}

// wrap adds the failed action to an error; a missing row becomes notFound.
func wrap(err error, notFound error, doing, id string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrNoRows) {
		return notFound
	}
	return fmt.Errorf("%s %s: %w", doing, id, err)
}

// nullable makes an empty text NULL.
func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

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

// fit returns a text in a form that a column of kind longText can store.
func (db *DB) fit(s string) string {
	s = db.dialect.text(strings.ToValidUTF8(s, "\ufffd"))
	return cutText(s, maxText)
}

// Service is the row of a process in the services table.
type Service struct {
	Host     string
	Binary   string
	Topic    string
	Disabled bool // of a new row; one that exists keeps its own
}

// RegisterService returns the id of a service's row and creates the row if there is
// none for that host and binary.
//
// karbor: service.py, Service.start
func (db *DB) RegisterService(ctx context.Context, s Service) (int64, error) {
	var id int64
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, err = db.findOrInsertService(ctx, tx, s)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("registering service %s on %s: %w", s.Binary, s.Host, err)
	}
	db.remember(id, s)
	return id, nil
}

// Heartbeat records that a service, registered through this DB, is alive. If its row is
// gone, Heartbeat creates a new one. It returns the id to use from then on.
//
// karbor: service.py, Service.report_state
func (db *DB) Heartbeat(ctx context.Context, id int64) (int64, error) {
	db.mu.Lock()
	service, known := db.services[id]
	db.mu.Unlock()
	if !known {
		return id, fmt.Errorf("heartbeat of service %d: it was not registered here", id)
	}
	current := id
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		var count int64
		current = id
		err = db.readReportCount(ctx, tx, id, &count)
		if errors.Is(err, sql.ErrNoRows) {
			if current, err = db.findOrInsertService(ctx, tx, service); err != nil {
				return err
			}
			err = db.readReportCount(ctx, tx, current, &count)
		}
		if err != nil {
			return err
		}
		return db.write(ctx, tx, "services", current, []assignment{{"report_count", count + 1}})
	})
	if err != nil {
		return id, fmt.Errorf("heartbeat of service %d: %w", id, err)
	}
	if current != id {
		db.remember(current, service)
	}
	return current, nil
}

func (db *DB) remember(id int64, s Service) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.services[id] = s
}

func (db *DB) readReportCount(ctx context.Context, tx *sql.Tx, id int64, count *int64) error {
	query := "SELECT report_count FROM services WHERE id = ? AND deleted = ?" + db.dialect.forUpdate()
	return tx.QueryRowContext(ctx, db.dialect.rebind(query), id, false).Scan(count)
}

func (db *DB) findOrInsertService(ctx context.Context, tx *sql.Tx, s Service) (int64, error) {
	var id int64
	query := "SELECT id FROM services WHERE deleted = ? AND host = ? AND " + db.dialect.quote("binary") + " = ? ORDER BY id LIMIT 1"
	err := tx.QueryRowContext(ctx, db.dialect.rebind(query), false, s.Host, s.Binary).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	insert, args := db.insertQuery("services", []assignment{
		{"created_at", db.now()},
		{"deleted", false},
		{"host", s.Host},
		{"binary", s.Binary},
		{"topic", s.Topic},
		{"report_count", 0},
		{"disabled", s.Disabled},
	})
	return db.dialect.insert(ctx, tx, insert, args)
}

// OperationLog is a row of operation_logs, which users list. Empty texts and zero times
// are NULL.
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

// Check returns an error for a value that does not fit into its column.
// CreateOperationLog would omit such a value.
func (l *OperationLog) Check() error { return checkColumns("operation_logs", l.ids()) }

func (l *OperationLog) ids() []assignment {
	return []assignment{
		{"project_id", l.ProjectID}, {"operation_type", l.OperationType}, {"checkpoint_id", l.CheckpointID}, {"plan_id", l.PlanID},
		{"provider_id", l.ProviderID}, {"restore_id", l.RestoreID}, {"scheduled_operation_id", l.ScheduledOperationID},
		{"status", l.Status},
	}
}

// OperationLogUpdate is a change of an OperationLog; nil leaves a column unchanged.
type OperationLogUpdate struct {
	Status    *string
	ErrorInfo *string
	EndedAt   *time.Time
}

// maxText is the number of bytes that a TEXT column of MySQL holds.
const maxText = 65535

// CreateOperationLog inserts a row and returns its id. An existing row with a given id
// stays unchanged, so that a repeated call is harmless. ErrorInfo is cut to its column.
// An id that does not fit is omitted, because a part of it would be another id.
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
		return "", wrap(err, err, "inserting operation log", id)
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
	return wrap(err, fault.OperationLogNotFound(id), "updating operation log", id)
}

// CloseOperationLogs closes the open rows, which have no end, of a checkpoint's
// operations of the given type. It returns the number of rows closed.
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
	return closed, wrap(err, err, "closing operation logs of checkpoint", checkpointID)
}

// GetOperationLog reads a row. Errors: fault.OperationLogNotFound.
func (db *DB) GetOperationLog(ctx context.Context, id string) (*OperationLog, error) {
	l := &OperationLog{ID: id}
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return db.scanOperationLog(ctx, tx, l)
	})
	if err != nil {
		return nil, wrap(err, fault.OperationLogNotFound(id), "reading operation log", id)
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
	// Status is the new status, nil to leave it unchanged.
	Status *string
	// ResourcesStatus and ResourcesReason are entries to set; other entries stay.
	// Updates of one record by different workers are serialized, so that no entry is
	// lost. If the column is too small for all entries, values are cut, and equal
	// entries of many resources become a count; the counts are right if the caller sets
	// all entries each time.
	ResourcesStatus map[string]string
	ResourcesReason map[string]string
}

// RecordKind is a table of records.
type RecordKind string

// The kinds of records.
const (
	Restores      RecordKind = "restores"
	Verifications RecordKind = "verifications"
)

// String returns the noun for one record.
func (k RecordKind) String() string { return strings.TrimSuffix(string(k), "s") }

// NotFound returns the error for a record that does not exist.
func (k RecordKind) NotFound(id string) *fault.Error {
	if k == Restores {
		return fault.RestoreNotFound(id)
	}
	return fault.VerificationNotFound(id)
}

// Get reads a record. Errors: fault.RestoreNotFound, fault.VerificationNotFound.
func (db *DB) Get(ctx context.Context, kind RecordKind, id string) (*Record, error) {
	var r *Record
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		r, err = db.scanRecord(ctx, tx, kind, id)
		return err
	})
	if err != nil {
		return nil, wrap(err, kind.NotFound(id), "reading "+kind.String(), id)
	}
	return r, nil
}

func (db *DB) scanRecord(ctx context.Context, tx *sql.Tx, kind RecordKind, id string) (*Record, error) {
	restoreTarget := "NULL"
	if kind == Restores {
		restoreTarget = "restore_target"
	}
	var project, provider, checkpoint, target, status, parameters, statuses, reasons sql.NullString
	var created, updated sql.NullTime
	columns := "project_id, provider_id, checkpoint_id, " + restoreTarget + ", status, parameters, resources_status, resources_reason, created_at, updated_at"
	err := db.read(ctx, tx, string(kind), columns, id, false,
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

// Update changes a record. If the change changes nothing, the row is not touched.
// Errors: fault.RestoreNotFound, fault.VerificationNotFound.
func (db *DB) Update(ctx context.Context, kind RecordKind, id string, u RecordUpdate) error {
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var status, statuses, reasons sql.NullString
		err := db.read(ctx, tx, string(kind), "status, resources_status, resources_reason", id, true, &status, &statuses, &reasons)
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
		return db.write(ctx, tx, string(kind), id, changes)
	})
	return wrap(err, kind.NotFound(id), "updating "+kind.String(), id)
}

// Check returns an error for a value that does not fit into its column.
func (r *Record) Check() error {
	return checkColumns(string(Restores), []assignment{
		{"id", r.ID}, {"project_id", r.ProjectID}, {"provider_id", r.ProviderID}, {"checkpoint_id", r.CheckpointID},
		{"restore_target", r.RestoreTarget}, {"status", r.Status}, {"parameters", string(r.Parameters)},
	})
}

// Create inserts a record and returns its id. karbor-api inserts its own records;
// Create serves callers that have none. CreatedAt and UpdatedAt are ignored. An
// existing row with a given id stays unchanged.
func (db *DB) Create(ctx context.Context, kind RecordKind, r *Record) (string, error) {
	id := cmp.Or(r.ID, db.options.NewID())
	parameters, err := jsonColumn(r.Parameters)
	if err != nil {
		return "", fmt.Errorf("writing parameters of %s %s: %w", kind, id, err)
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
	if kind == Restores {
		values = append(values, assignment{"restore_target", nullable(r.RestoreTarget)})
	}
	query, args := db.insertQuery(string(kind), values)
	err = db.do(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil && db.classify(err) != duplicate {
		return "", wrap(err, err, "inserting "+kind.String(), id)
	}
	return id, nil
}

// jsonColumn returns a JSON value as Python writes it; no value and the empty object
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
