// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

const (
	// guards is how many Begins of different subjects go on at once.
	guards = 64
	// inputPart is the size of a part where the server bears it.
	inputPart = 1 << 20
)

const entryColumns = "id, idempotency_key, kind, subject, is_exclusive, provider_id, checkpoint_id, plan_id, project_id, record_id, " +
	"owner, generation, state, outcome, reason, cancelled_by, created_at, started_at, ended_at, token"

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// scanEntry reads entryColumns.
func scanEntry(scan func(...any) error) (e Entry, token string, err error) {
	var key sql.NullString
	var exclusive, created, started, ended int64
	err = scan(&e.ID, &key, &e.Kind, &e.Subject, &exclusive, &e.ProviderID, &e.CheckpointID, &e.PlanID, &e.ProjectID, &e.RecordID,
		&e.Owner, &e.Generation, &e.State, &e.Outcome, &e.Reason, &e.CancelledBy, &created, &started, &ended, &token)
	e.Key, e.Exclusive = key.String, exclusive != 0
	e.CreatedAt, e.StartedAt, e.EndedAt = fromMicros(created), fromMicros(started), fromMicros(ended)
	return e, token, err
}

// Begin implements Journal.
func (j *SQL) Begin(ctx context.Context, e Entry) (Entry, bool, error) {
	if err := j.enter(ctx); err != nil {
		return Entry{}, false, err
	}
	defer j.leave()
	e, err := begun(e, j.options.Clock())
	if err != nil {
		return Entry{}, false, err
	}
	token := j.options.NewToken()
	for range 10 {
		var there Entry
		var fresh bool
		err = j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
			there, fresh, err = begin(ctx, tx, e, token)
			return err
		})
		if err == nil {
			return there, fresh, nil
		}
		// Another Begin of this id or key was first: it is there now.
		if !j.db.Duplicate(err) {
			break
		}
	}
	if busy := (*BusyError)(nil); errors.As(err, &busy) {
		return Entry{}, false, err
	}
	return Entry{}, false, fmt.Errorf("begin operation %s: %w", e.ID, err)
}

func begin(ctx context.Context, tx database.Tx, e Entry, token string) (Entry, bool, error) {
	if e.Subject != "" {
		if err := guard(ctx, tx, e.Subject); err != nil {
			return Entry{}, false, err
		}
	}
	there, own, err := readEntry(ctx, tx, "(idempotency_key = ? OR id = ?) ORDER BY CASE WHEN idempotency_key = ? THEN 0 ELSE 1 END LIMIT 1", e.Key, e.ID, e.Key)
	if err == nil {
		return *there, own == token, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return Entry{}, false, err
	}
	if e.Subject != "" {
		row := tx.QueryRow(ctx, "SELECT "+entryColumns+" FROM protection_operations WHERE subject = ? AND state <> ? AND (is_exclusive = 1 OR ? = 1) "+
			"ORDER BY created_at, id LIMIT 1", e.Subject, string(Ended), bit(e.Exclusive))
		other, _, err := scanEntry(row.Scan)
		if err == nil {
			return Entry{}, false, &BusyError{Other: other}
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return Entry{}, false, err
		}
	}
	return e, true, insertEntry(ctx, tx, e, token)
}

// guard lets one Begin of a subject go on at a time. The rows are always
// there: a row for each subject would have to come and go, and one that is
// not there cannot be locked.
func guard(ctx context.Context, tx database.Tx, subject string) error {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(subject))
	var id int64
	return tx.QueryRow(ctx, "SELECT id FROM protection_guards WHERE id = ?"+tx.ForUpdate(), int64(hash.Sum32()%guards)).Scan(&id)
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func insertEntry(ctx context.Context, tx database.Tx, e Entry, token string) error {
	key := any(e.Key)
	if e.Key == "" {
		key = nil
	}
	insert := "INSERT INTO protection_operations (" + entryColumns + ") VALUES (?" + strings.Repeat(", ?", strings.Count(entryColumns, ",")) + ")"
	if _, err := tx.Exec(ctx, insert, e.ID, key, e.Kind, e.Subject, bit(e.Exclusive), e.ProviderID, e.CheckpointID, e.PlanID, e.ProjectID,
		e.RecordID, e.Owner, e.Generation, string(e.State), "", "", "", micros(e.CreatedAt), int64(0), int64(0), token); err != nil {
		return err
	}
	return insertInput(ctx, tx, e.ID, e.Input)
}

// insertInput writes an input in parts that fit into a statement.
func insertInput(ctx context.Context, tx database.Tx, id string, input json.RawMessage) error {
	if len(input) == 0 {
		return nil
	}
	size, err := tx.Room(ctx, min(len(input), inputPart))
	if err != nil {
		return err
	}
	for part, rest := int64(0), []byte(input); len(rest) > 0; part++ {
		data := rest[:min(len(rest), size)]
		rest = rest[len(data):]
		if _, err := tx.Exec(ctx, "INSERT INTO protection_inputs (operation, part, data) VALUES (?, ?, ?)", id, part, data); err != nil {
			return err
		}
	}
	return nil
}

// readEntry returns the entry that a condition selects, with its input.
func readEntry(ctx context.Context, tx database.Tx, where string, args ...any) (*Entry, string, error) {
	e, token, err := scanEntry(tx.QueryRow(ctx, "SELECT "+entryColumns+" FROM protection_operations WHERE "+where, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", ErrNotFound
	}
	if err != nil {
		return nil, "", err
	}
	rows, err := tx.Query(ctx, "SELECT data FROM protection_inputs WHERE operation = ? ORDER BY part", e.ID)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var part sql.RawBytes
		if err := rows.Scan(&part); err != nil {
			return nil, "", err
		}
		e.Input = append(e.Input, json.RawMessage(part)...)
	}
	return &e, token, rows.Err()
}

// Get implements Journal.
func (j *SQL) Get(ctx context.Context, id string) (*Entry, error) {
	return j.one(ctx, "id", id)
}

// Find implements Journal.
func (j *SQL) Find(ctx context.Context, key string) (*Entry, error) {
	return j.one(ctx, "idempotency_key", key)
}

func (j *SQL) one(ctx context.Context, column, value string) (*Entry, error) {
	var e *Entry
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		if !storable(value) {
			return ErrNotFound
		}
		e, _, err = readEntry(ctx, tx, column+" = ?", value)
		return err
	})
	if err != nil {
		return nil, named(err, "read operation", value)
	}
	return e, nil
}

// named says what an error of the store was about. Those of the contract stay
// as they are.
func named(err error, what, name string) error {
	for _, known := range []error{ErrNotFound, ErrClaim, ErrOwnerLives, ErrEnded, ErrClosed} {
		if errors.Is(err, known) {
			return err
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}
