// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
)

// preparing is a connector whose connections keep their statements prepared: in SQLite
// and MySQL, parsing a statement costs about as much as running it.
type preparing struct {
	driver.Connector
	// setup is a statement that each new connection runs, empty for none.
	setup string
}

// Connect implements driver.Connector.
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &preparedConn{driverConn: conn.(driverConn), kept: map[string]driver.Stmt{}}
	if p.setup == "" {
		return c, nil
	}
	if _, err := c.driverConn.ExecContext(ctx, p.setup, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("setting up a connection: %w", err), conn.Close())
	}
	return c, nil
}

// driverConn has the methods that the connections of the SQLite and MySQL drivers share.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparedConn is a connection with its prepared statements, by their text. Its users
// close the rows of one statement before they run another.
type preparedConn struct {
	driverConn
	kept   map[string]driver.Stmt
	wanted []string // to be prepared before the next transaction
}

// maxPrepared bounds the prepared statements of a connection, because MySQL servers
// bound their total over all connections (max_prepared_stmt_count).
const maxPrepared = 100

// CheckNamedValue implements driver.NamedValueChecker.
func (c *preparedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.driverConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ExecContext implements driver.ExecerContext.
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return run(ctx, c, query, args, driver.StmtExecContext.ExecContext, c.driverConn.ExecContext)
}

// QueryContext implements driver.QueryerContext.
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return run(ctx, c, query, args, driver.StmtQueryContext.QueryContext, c.driverConn.QueryContext)
}

// longValues is the maximum size of the values of a prepared statement: MySQL servers
// apply another limit to longer values than to statements.
const longValues = 64 << 10

// BeginTx implements driver.ConnBeginTx. Statements are prepared here and never within
// a transaction: a Galera node that has rolled a transaction back reports it at the
// next request, and if that request prepares a statement, the report is lost. The rest
// of the transaction would then be committed without its beginning.
func (c *preparedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	for _, query := range c.wanted {
		if stmt, err := c.PrepareContext(ctx, query); err == nil { // else it is run as it is
			c.kept[query] = stmt
		}
	}
	c.wanted = nil
	return c.driverConn.BeginTx(ctx, o)
}

// run runs a statement, prepared if it was run before on this connection. A statement
// without values, or with long ones, is never prepared. A failed statement is prepared
// again, because the server may have forgotten it.
func run[S, T any](ctx context.Context, c *preparedConn, query string, args []driver.NamedValue,
	prepared func(S, context.Context, []driver.NamedValue) (T, error),
	plain func(context.Context, string, []driver.NamedValue) (T, error)) (T, error) {
	if len(args) == 0 || sizeOf(args) > longValues {
		return plain(ctx, query, args)
	}
	stmt := c.kept[query]
	if stmt == nil {
		if len(c.kept)+len(c.wanted) >= maxPrepared {
			c.drop()
		}
		if !slices.Contains(c.wanted, query) {
			c.wanted = append(c.wanted, query)
		}
		return plain(ctx, query, args)
	}
	result, err := prepared(stmt.(S), ctx, args)
	if err != nil {
		delete(c.kept, query)
		_ = stmt.Close()
	}
	return result, err
}

// sizeOf returns the total size of the texts and byte slices among values.
func sizeOf(args []driver.NamedValue) (size int) {
	for _, a := range args {
		switch v := a.Value.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	return size
}

// drop closes all statements.
func (c *preparedConn) drop() {
	for query, stmt := range c.kept {
		delete(c.kept, query)
		_ = stmt.Close()
	}
	c.wanted = nil
}

// Close implements driver.Conn.
func (c *preparedConn) Close() error {
	c.drop()
	return c.driverConn.Close()
}
