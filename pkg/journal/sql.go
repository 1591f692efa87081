// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
)

// Options of a journal in a database. The zero value is usable.
type Options struct {
	// Clock returns the times of entries; nil means time.Now. Announcements and locks
	// use the database's clock.
	Clock func() time.Time

	// NewToken returns a unique mark by which a call recognises its own work when it is
	// repeated after a commit whose answer was lost; nil means a random UUID.
	NewToken func() string

	// Batch is the maximum number of Write calls that share a commit; zero means 256.
	Batch int
}

// SQL is a journal in a database that other workers and karbor's own tables use too.
type SQL struct {
	db      *database.DB
	options Options
	writer  *writer

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

var _ Journal = (*SQL)(nil)

// Open prepares a journal in a database without connecting. Sync creates the tables.
// Close ends the journal and leaves the database open.
func Open(db *database.DB, o Options) *SQL {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.NewToken == nil {
		o.NewToken = uuid.NewString
	}
	if o.Batch == 0 {
		o.Batch = 256
	}
	return &SQL{db: db, options: o, writer: newWriter(db, o.Batch)}
}

// enter begins a call, which ends with leave.
func (j *SQL) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	j.calls.Add(1)
	return nil
}

func (j *SQL) leave() { j.calls.Done() }

// transact runs f in a single transaction.
func (j *SQL) transact(ctx context.Context, f func(context.Context, database.Tx) error) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	return j.db.Transact(ctx, f)
}

// Close implements Journal.
func (j *SQL) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.calls.Wait()
	j.writer.wait()
	return nil
}

const (
	// guards is the number of Begins of different subjects that can run at once.
	guards = 64
	// inputPart is the size of one part of an input, if the server allows it.
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
	e, err := e.Begun(j.options.Clock())
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
		// Another Begin of this id or key came first, so the entry exists now.
		if !j.db.Duplicate(err) {
			break
		}
	}
	if busy := (*BusyError)(nil); errors.As(err, &busy) {
		return Entry{}, false, err
	}
	return Entry{}, false, fmt.Errorf("beginning operation %s: %w", e.ID, err)
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

// guard serializes the Begins of a subject. The guard rows always exist: a row for each
// subject would have to be created and deleted, and a row that does not exist cannot be
// locked.
func guard(ctx context.Context, tx database.Tx, subject string) error {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(subject))
	return tx.Hold(ctx, "protection_guards", "id = ?", int64(hash.Sum32()%guards))
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
		return nil, named(err, "reading operation", value)
	}
	return e, nil
}

// named adds the subject of a call to an error of the store. Errors of the contract stay
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

// held locks an entry, which the transaction writes if it changes anything, and returns
// it without its input. If there is no such entry, the error is ErrNotFound.
func held(ctx context.Context, tx database.Tx, id string) (e Entry, token string, err error) {
	if !storable(id) {
		return e, "", ErrNotFound
	}
	row := tx.QueryRow(ctx, "SELECT "+entryColumns+" FROM protection_operations WHERE id = ?"+tx.ForUpdate(), id)
	if e, token, err = scanEntry(row.Scan); errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return e, token, err
}

// unclaimed returns the reason why c does not allow writing to an unfinished entry, or
// nil if the write was already done.
func unclaimed(ctx context.Context, tx database.Tx, id string, c Claim, done func(Entry) bool) error {
	e, _, err := held(ctx, tx, id)
	if errors.Is(err, ErrNotFound) || err == nil && (e.Claim != c || !done(e)) {
		err = ErrClaim
	}
	return err
}

// ofClaim selects an unfinished entry by a claim on it.
const ofClaim = " WHERE id = ? AND owner = ? AND generation = ? AND state <> '" + string(Ended) + "'"

// Start implements Journal.
func (j *SQL) Start(ctx context.Context, id string, c Claim) error {
	now := j.options.Clock()
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		if !storable(id) || !storable(c.Owner) {
			return ErrClaim
		}
		n, err := tx.Exec(ctx, "UPDATE protection_operations SET state = ?, started_at = ?"+ofClaim+" AND state = ?",
			string(Running), micros(now), id, c.Owner, c.Generation, string(Queued))
		if err != nil || n == 1 {
			return err
		}
		return unclaimed(ctx, tx, id, c, func(e Entry) bool { return e.State == Running })
	}), "starting operation", id)
}

// End implements Journal.
func (j *SQL) End(ctx context.Context, id string, c Claim, o Outcome, reason string, left json.RawMessage) error {
	if err := CheckEnd(id, o, left); err != nil {
		return err
	}
	reason, now := Readable(reason, MaxReason), j.options.Clock()
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		if !storable(id) || !storable(c.Owner) {
			return ErrClaim
		}
		n, err := tx.Exec(ctx, "UPDATE protection_operations SET state = ?, outcome = ?, reason = ?, ended_at = ?"+ofClaim,
			string(Ended), string(o), reason, micros(now), id, c.Owner, c.Generation)
		if err != nil {
			return err
		}
		if n == 0 {
			return unclaimed(ctx, tx, id, c, func(e Entry) bool { return e.endedAs(c, o, reason) })
		}
		if _, err := tx.Exec(ctx, "DELETE FROM protection_inputs WHERE operation = ?", id); err != nil {
			return err
		}
		return insertInput(ctx, tx, id, left)
	}), "ending operation", id)
}

// Cancel implements Journal.
func (j *SQL) Cancel(ctx context.Context, id, by string) error {
	by, err := CheckBy(id, by)
	if err != nil {
		return err
	}
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		e, _, err := held(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case e.State == Ended:
			return ErrEnded
		case e.CancelledBy != "":
			return nil
		}
		_, err = tx.Exec(ctx, "UPDATE protection_operations SET cancelled_by = ? WHERE id = ?", by, id)
		return err
	}), "cancelling operation", id)
}

// Adopt implements Journal.
func (j *SQL) Adopt(ctx context.Context, id string, from Claim, owner string) (Claim, error) {
	if err := CheckTexts([2]string{"owner", owner}); err != nil {
		return Claim{}, err
	}
	token, next := j.options.NewToken(), Claim{Owner: owner, Generation: from.Generation + 1}
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		e, last, err := held(ctx, tx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return ErrClaim
		case err != nil:
			return err
		case last == token && e.Claim == next && e.State != Ended:
			return nil // done, but the answer was lost
		case e.Claim != from || e.State == Ended:
			return ErrClaim
		}
		if from.Owner != owner {
			live, err := isLive(ctx, tx, from.Owner)
			if err != nil {
				return err
			}
			if live {
				return ErrOwnerLives
			}
		}
		_, err = tx.Exec(ctx, "UPDATE protection_operations SET owner = ?, generation = ?, token = ? WHERE id = ?",
			next.Owner, next.Generation, token, id)
		return err
	})
	if err != nil {
		return Claim{}, named(err, "adopting operation", id)
	}
	return next, nil
}

// List implements Journal.
func (j *SQL) List(ctx context.Context, f Filter) ([]Entry, error) {
	var found []Entry
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		found, err = list(ctx, tx, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return found, nil
}

func list(ctx context.Context, tx database.Tx, f Filter) ([]Entry, error) {
	conditions, args := []string{"1 = 1"}, []any(nil)
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	for _, c := range []struct{ column, want string }{
		{"id", f.ID}, {"subject", f.Subject}, {"project_id", f.ProjectID}, {"provider_id", f.ProviderID}, {"checkpoint_id", f.CheckpointID}, {"owner", f.Owner}, {"kind", f.Kind},
	} {
		switch {
		case !storable(c.want):
			return nil, nil // no entry has it
		case c.want != "":
			add(c.column+" = ?", c.want)
		}
	}
	if f.Unfinished {
		add("state IN (?, ?)", string(Queued), string(Running))
	}
	if f.Cancelling {
		add("cancelled_by <> ?", "")
	}
	if f.Marker != "" {
		created, err := marker(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		add("(created_at < ? OR (created_at = ? AND id < ?))", created, created, f.Marker)
	}
	query := "SELECT " + entryColumns + " FROM protection_operations WHERE " + strings.Join(conditions, " AND ") + " ORDER BY created_at DESC, id DESC"
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Entry
	for rows.Next() {
		e, _, err := scanEntry(rows.Scan)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, rows.Err()
}

func marker(ctx context.Context, tx database.Tx, f Filter) (created int64, err error) {
	id, project := f.Marker, ""
	if !storable(id) {
		return 0, fmt.Errorf("after %q: %w", id, ErrNotFound)
	}
	err = tx.QueryRow(ctx, "SELECT created_at, project_id FROM protection_operations WHERE id = ?", id).Scan(&created, &project)
	if errors.Is(err, sql.ErrNoRows) || err == nil && f.ProjectID != "" && project != f.ProjectID {
		err = fmt.Errorf("after %q: %w", id, ErrNotFound)
	}
	return created, err
}

// Marks implements Journal.
func (j *SQL) Marks(ctx context.Context, id, prefix string) ([]Mark, error) {
	var marks []Mark
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		marks = nil
		if !storable(id) || len(prefix) > MaxKey {
			return nil // no mark has it
		}
		query, args := "SELECT mark, document FROM protection_marks WHERE operation = ? AND mark >= ?", []any{id, []byte(prefix)}
		if end := after(prefix); end != nil {
			query, args = query+" AND mark < ?", append(args, end)
		}
		rows, err := tx.Query(ctx, query+" ORDER BY mark", args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, value []byte
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			marks = append(marks, Mark{Key: string(key), Value: value})
		}
		return rows.Err()
	})
	if err != nil {
		return nil, named(err, "reading marks of operation", id)
	}
	return marks, nil
}

// after returns the first key after all keys with the prefix, nil if there is none.
func after(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

// Sync brings the tables to the newest version, from an empty database or from an older
// version. Several workers may do it at once. Tables of a newer version than this
// worker supports are left alone and an error. Where all tables exist, the user need
// not have the right to create any; without that, and without rights to read and write
// them, the error is a *database.RefusedError.
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
		return fmt.Errorf("syncing the journal: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("syncing the journal: the tables in the database are of version %d, this worker knows versions up to %d: use a newer worker", version, len(migrations))
	}
	for version < len(migrations) {
		if err := migrations[version](ctx, j.db); err != nil {
			return fmt.Errorf("syncing the journal: migrate to version %d: %w", version+1, err)
		}
		if version, err = j.version(ctx, version+1); err != nil {
			return fmt.Errorf("syncing the journal: note its version: %w", err)
		}
	}
	if err := j.db.CheckTables(ctx, tables...); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	return nil
}

// version raises the version to at least the given number and returns it.
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

// Stats returns the current figures.
func (j *SQL) Stats() Stats {
	j.writer.mu.Lock()
	defer j.writer.mu.Unlock()
	s := j.writer.stats
	s.Waiting = len(j.writer.queue)
	return s
}

// Write implements Journal. If the context ends during the commit, Write returns at
// once, and the write may still happen.
func (j *SQL) Write(ctx context.Context, id string, c Claim, marks ...Mark) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.leave()
	if err := CheckMarks(id, marks); err != nil {
		return err
	}
	w := &write{ctx: ctx, id: id, claim: c, done: make(chan error, 1)}
	for _, m := range marks { // the caller may go before the writer has read them
		w.marks = append(w.marks, Mark{Key: m.Key, Value: slices.Clone(m.Value)})
		w.size += len(m.Key) + len(m.Value)
	}
	j.writer.add(w)
	select {
	case err := <-w.done:
		return named(err, "writing to operation", id)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Prune implements Journal. It also removes locks that expired before the time.
func (j *SQL) Prune(ctx context.Context, endedBefore time.Time) (int, error) {
	if err := j.enter(ctx); err != nil {
		return 0, err
	}
	defer j.leave()
	before, pruned := micros(endedBefore), 0
	for {
		n := 0
		err := j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) (err error) {
			n, err = pruneEntries(ctx, tx, before)
			return err
		})
		if err != nil {
			return pruned, fmt.Errorf("pruning operations: %w", err)
		}
		if n == 0 {
			break
		}
		pruned += n
	}
	err := j.db.Transact(ctx, func(ctx context.Context, tx database.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM protection_owners WHERE live_until <= "+tx.Now()+" AND announced_at < ? AND NOT EXISTS "+
			"(SELECT 1 FROM protection_operations o WHERE o.owner = protection_owners.id AND o.state IN (?, ?))", before, string(Queued), string(Running))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM protection_locks WHERE live_until <= "+tx.Now()+" AND live_until < ?", before)
		return err
	})
	if err != nil {
		return pruned, fmt.Errorf("pruning owners: %w", err)
	}
	return pruned, nil
}

// pruneBatch bounds a transaction of Prune, because other transactions wait for it.
const pruneBatch = 100

func pruneEntries(ctx context.Context, tx database.Tx, before int64) (int, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT id FROM protection_operations WHERE state = ? AND ended_at < ? ORDER BY id LIMIT %d", pruneBatch)+tx.ForUpdate(),
		string(Ended), before)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []any
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	in := " IN (?" + strings.Repeat(", ?", len(ids)-1) + ")"
	for _, statement := range []string{
		"DELETE FROM protection_inputs WHERE operation" + in,
		"DELETE FROM protection_marks WHERE operation" + in,
		"DELETE FROM protection_operations WHERE id" + in,
	} {
		if _, err := tx.Exec(ctx, statement, ids...); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}
