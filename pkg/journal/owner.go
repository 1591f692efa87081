// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/database"
)

// Announce implements Journal.
func (j *SQL) Announce(ctx context.Context, o Owner, hold time.Duration) error {
	if err := CheckTexts([2]string{"owner", o.ID}); err != nil {
		return err
	}
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO protection_owners (id, host, live_until, announced_at) VALUES (?, ?, "+tx.Now()+" + ?, "+tx.Now()+")"+
			tx.OnConflict([]string{"id"}, "host", "live_until", "announced_at"), o.ID, Readable(o.Host, MaxText), hold.Microseconds())
		return err
	}), "announcing owner", o.ID)
}

// Retire implements Journal.
func (j *SQL) Retire(ctx context.Context, owner string) error {
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		if !storable(owner) {
			return nil
		}
		_, err := tx.Exec(ctx, "UPDATE protection_owners SET live_until = 0 WHERE id = ?", owner)
		return err
	}), "retiring owner", owner)
}

// Owners implements Journal.
func (j *SQL) Owners(ctx context.Context) ([]Owner, error) {
	var owners []Owner
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		owners = nil
		rows, err := tx.Query(ctx, "SELECT id, host, live_until, announced_at, "+tx.Now()+" FROM protection_owners ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o Owner
			var until, announced, now int64
			if err := rows.Scan(&o.ID, &o.Host, &until, &announced, &now); err != nil {
				return err
			}
			o.Live, o.Retired, o.Announced = until > now, until == 0, fromMicros(announced)
			owners = append(owners, o)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("listing owners: %w", err)
	}
	return owners, nil
}

// isLive reports whether an owner is live. It locks the owner's row, so that the owner
// is not announced meanwhile.
func isLive(ctx context.Context, tx database.Tx, owner string) (bool, error) {
	if !storable(owner) {
		return false, nil
	}
	if err := tx.Hold(ctx, "protection_owners", "id = ?", owner); err != nil {
		return false, err
	}
	var live int64
	query := "SELECT CASE WHEN live_until > " + tx.Now() + " THEN 1 ELSE 0 END FROM protection_owners WHERE id = ?"
	err := tx.QueryRow(ctx, query, owner).Scan(&live)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return live != 0, err
}

// Lock implements Journal.
func (j *SQL) Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error) {
	if err := CheckTexts([2]string{"lock", name}, [2]string{"owner", owner}); err != nil {
		return false, err
	}
	var has bool
	err := j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		// A row must exist before it can be locked.
		if _, err := tx.Exec(ctx, "INSERT INTO protection_locks (name, owner, live_until) VALUES (?, ?, 0)"+tx.OnConflict([]string{"name"}),
			name, owner); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE protection_locks SET owner = ?, live_until = "+tx.Now()+" + ? WHERE name = ? AND (owner = ? OR live_until <= "+tx.Now()+")",
			owner, hold.Microseconds(), name, owner)
		has = n == 1
		return err
	})
	if err != nil {
		return false, named(err, "taking lock", name)
	}
	return has, nil
}

// Unlock implements Journal.
func (j *SQL) Unlock(ctx context.Context, name, owner string) error {
	return named(j.transact(ctx, func(ctx context.Context, tx database.Tx) error {
		if !storable(name) || !storable(owner) {
			return nil
		}
		_, err := tx.Exec(ctx, "DELETE FROM protection_locks WHERE name = ? AND owner = ?", name, owner)
		return err
	}), "giving back lock", name)
}
