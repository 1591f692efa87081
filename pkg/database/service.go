// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Service is what a process says of itself in the services table.
type Service struct {
	Host     string
	Binary   string
	Topic    string
	Disabled bool // of a new row; one that exists keeps its own
}

// RegisterService returns the id of the row of a service, which it makes if
// there is none for that host and binary.
//
// karbor: service.py, Service.start
func (db *DB) RegisterService(ctx context.Context, s Service) (int64, error) {
	var id int64
	err := db.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, err = db.findOrInsertService(ctx, tx, s)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("register service %s on %s: %w", s.Binary, s.Host, err)
	}
	db.remember(id, s)
	return id, nil
}

// Heartbeat says that a service, registered through this DB, is alive. If its
// row has gone it makes a new one. It returns the id to go on with.
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
