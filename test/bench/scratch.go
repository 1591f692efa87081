// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/go-sql-driver/mysql"

	"github.com/karbor-project/karbor/rpc"
)

// mariadb is the environment variable with the URL of a database on the server
// to measure with.
const mariadb = "KARBOR_TEST_MYSQL"

// scratch makes an empty database on the server of a URL. drop removes it.
func scratch(ctx context.Context, server string) (made string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", mariadb, err)
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User = "tcp", u.Host, u.User.Username()
	c.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", mariadb, err)
	}
	db := sql.OpenDB(connector)
	name := "bench_" + rpc.NewID()[:8]
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb3"); err != nil {
		return "", nil, errors.Join(fmt.Errorf("making a database: %w", err), db.Close())
	}
	u.Path = "/" + name
	return u.String(), func() error {
		_, err := db.Exec("DROP DATABASE " + name)
		return errors.Join(err, db.Close())
	}, nil
}

// journals calls measure for each database that a worker can have its journal
// in, with the name that the table gives it and the URL, "" for the embedded one.
func (b *bench) journals(ctx context.Context, measure func(name, url string) error) error {
	if err := measure("SQLite", ""); err != nil {
		return err
	}
	server := os.Getenv(mariadb)
	if server == "" {
		b.note("MariaDB was left out: " + mariadb + ` is not set; eval "$(tools/services/up mariadb)" sets it.`)
		return nil
	}
	made, drop, err := scratch(ctx, server)
	if err != nil {
		return err
	}
	return errors.Join(measure("MariaDB", made), drop())
}
