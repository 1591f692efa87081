// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/karbor-project/karbor/pkg/database"
)

// held locks an entry until the transaction ends and returns it without its
// input. One that is not there is ErrNotFound.
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

// claimed locks an entry to which c is the right to write, ended or not.
func claimed(ctx context.Context, tx database.Tx, id string, c Claim) (Entry, error) {
	e, _, err := held(ctx, tx, id)
	if errors.Is(err, ErrNotFound) || err == nil && e.Claim != c {
		err = ErrClaim
	}
	return e, err
}

// Start implements Journal.
func (j *SQL) Start(ctx context.Context, id string, c Claim) error {
	now := j.options.Clock()
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		e, err := claimed(ctx, tx, id, c)
		switch {
		case err != nil:
			return err
		case e.State == Ended:
			return ErrClaim
		case e.State == Running:
			return nil
		}
		_, err = tx.Exec(ctx, "UPDATE protection_operations SET state = ?, started_at = ? WHERE id = ?", string(Running), micros(now), id)
		return err
	}), "start operation", id)
}

// End implements Journal.
func (j *SQL) End(ctx context.Context, id string, c Claim, o Outcome, reason string, left json.RawMessage) error {
	if err := checkEnd(id, o, left); err != nil {
		return err
	}
	reason, now := readable(reason, maxReason), j.options.Clock()
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		e, err := claimed(ctx, tx, id, c)
		switch {
		case err != nil:
			return err
		case e.endedAs(c, o, reason):
			return nil
		case e.State == Ended:
			return ErrClaim
		}
		_, err = tx.Exec(ctx, "UPDATE protection_operations SET state = ?, outcome = ?, reason = ?, ended_at = ? WHERE id = ?",
			string(Ended), string(o), reason, micros(now), id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM protection_inputs WHERE operation = ?", id); err != nil {
			return err
		}
		return insertInput(ctx, tx, id, left)
	}), "end operation", id)
}

// Cancel implements Journal.
func (j *SQL) Cancel(ctx context.Context, id, by string) error {
	by, err := checkBy(id, by)
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
	}), "cancel operation", id)
}

// Adopt implements Journal.
func (j *SQL) Adopt(ctx context.Context, id string, from Claim, owner string) (Claim, error) {
	if err := checkTexts([2]string{"owner", owner}); err != nil {
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
		return Claim{}, named(err, "adopt operation", id)
	}
	return next, nil
}
