// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// dialTimeout bounds one attempt to connect, where the URL does not say.
const dialTimeout = 10 * time.Second

// mysqlDialect is that of MySQL and MariaDB.
type mysqlDialect struct{}

var _ dialect = mysqlDialect{}

func (mysqlDialect) open(a address, o Options) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.user, a.password, a.name
	c.Net, c.Addr = "tcp", net.JoinHostPort(cmp.Or(a.host, "localhost"), cmp.Or(a.port, "3306"))
	if socket := a.param("unix_socket"); socket != "" {
		c.Net, c.Addr = "unix", socket
	}
	c.Logger = &mysql.NopLogger{} // what matters comes back as an error
	c.Loc = time.UTC
	c.ParseTime = true
	c.InterpolateParams = true
	c.ClientFoundRows = true
	c.Timeout = dialTimeout
	// oslo.db: option mysql_sql_mode, default TRADITIONAL
	// MySQL takes what follows it for a comment.
	c.Params = map[string]string{"sql_mode": fmt.Sprintf("'TRADITIONAL' /*M!100300 , idle_transaction_timeout=%d */", int(o.Abandoned.Seconds()))}
	if err := mysqlParams(c, a); err != nil {
		return nil, err
	}
	if err := c.Apply(mysql.Charset(cmp.Or(a.param("charset"), "utf8mb4"), "")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return pooled(sql.OpenDB(connector), o), nil
}

// mysqlParams reads the parameters of PyMySQL and mysqlclient that matter
// here. Others are tolerated, but not those of TLS: to ignore one could mean
// to talk in the clear.
func mysqlParams(c *mysql.Config, a address) error {
	for name, timeout := range map[string]*time.Duration{
		"connect_timeout": &c.Timeout, "read_timeout": &c.ReadTimeout, "write_timeout": &c.WriteTimeout,
	} {
		text := a.param(name)
		if text == "" {
			continue
		}
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return fmt.Errorf("parameter %s is not a number of seconds", name)
		}
		*timeout = time.Duration(seconds) * time.Second
	}
	secure, err := mysqlTLS(a)
	if err != nil {
		return err
	}
	c.TLS = secure
	return nil
}

// mysqlTLS returns nil if the URL asks for no TLS. As with PyMySQL, the server
// is verified if there is a CA to verify it with.
func mysqlTLS(a address) (*tls.Config, error) {
	wanted := false
	for name := range a.query {
		switch name {
		case "ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity":
			wanted = true
		case "ssl_disabled":
		default:
			if strings.HasPrefix(name, "ssl") {
				return nil, fmt.Errorf("parameter %s is not known", name)
			}
		}
	}
	disabled, err := a.flag("ssl_disabled", false)
	if err != nil || disabled || !wanted {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.host}
	ca := a.param("ssl_ca")
	if ca != "" {
		if c.RootCAs, err = certificates(ca); err != nil {
			return nil, err
		}
	}
	if cert := a.param("ssl_cert"); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, cmp.Or(a.param("ssl_key"), cert))
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, mysqlVerification(c, a, ca != "")
}

func mysqlVerification(c *tls.Config, a address, byDefault bool) error {
	chain, err := a.flag("ssl_verify_cert", byDefault)
	if err != nil {
		return err
	}
	name, err := a.flag("ssl_check_hostname", chain)
	if err != nil {
		return err
	}
	if name, err = a.flag("ssl_verify_identity", name); err != nil || name {
		return err
	}
	c.InsecureSkipVerify = true //nolint:gosec // asked for, and made up for below as far as asked
	if chain {
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(c.RootCAs, s) }
	}
	return nil
}

// verifyChain verifies a server's certificate whatever its name is.
func verifyChain(roots *x509.CertPool, s tls.ConnectionState) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

func certificates(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no CA certificate in %s", path)
	}
	return pool, nil
}

func (mysqlDialect) rebind(query string) string { return query }
func (mysqlDialect) quote(name string) string   { return "`" + name + "`" }
func (mysqlDialect) forUpdate() string          { return " FOR UPDATE" }
func (mysqlDialect) timestamp(t time.Time) any  { return t }

func (mysqlDialect) insert(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error) {
	return lastInsertID(ctx, tx, query, args)
}

// text keeps within the three bytes a character that the tables' charset has.
func (mysqlDialect) text(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xffff {
			return '\ufffd'
		}
		return r
	}, s)
}

func (mysqlDialect) columnType(c column) string {
	switch c.kind {
	case serial:
		return "int(11) NOT NULL AUTO_INCREMENT"
	case integer:
		return "int(11)"
	case boolean:
		return "tinyint(1)"
	case datetime:
		return "datetime"
	case longText:
		return "text"
	default:
		return fmt.Sprintf("varchar(%d)", c.size)
	}
}

func (mysqlDialect) tableOptions() string {
	return " ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci"
}

func (mysqlDialect) isolation() sql.IsolationLevel { return sql.LevelReadCommitted }
func (mysqlDialect) exact(s string) any            { return []byte(s) }
func (mysqlDialect) indexesInTable() bool          { return true } // CREATE INDEX knows no IF NOT EXISTS

// now does without UNIX_TIMESTAMP, which converts from the session's time zone.
func (mysqlDialect) now() string {
	return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
}

func (mysqlDialect) onConflict(key, columns []string) string {
	if len(columns) == 0 {
		return " ON DUPLICATE KEY UPDATE " + key[0] + " = " + key[0]
	}
	var set []string
	for _, c := range columns {
		set = append(set, c+" = VALUES("+c+")")
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
}

// ownType has bytes for texts too: MySQL's collations pad with blanks, and a
// connection with charset=utf8, as karbor's, cannot carry all of Unicode.
func (mysqlDialect) ownType(c Column) string {
	switch c.Type {
	case Text, Bytes:
		return fmt.Sprintf("varbinary(%d)", c.Size)
	case Int64:
		return "bigint(20)"
	default:
		return "longblob"
	}
}

// classify goes by the numbers of MySQL's and MariaDB's error references.
func (mysqlDialect) classify(err error) class {
	if errors.Is(err, mysql.ErrInvalidConn) {
		return unreachable
	}
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return unknown
	}
	switch e.Number {
	case 1062: // duplicate entry
		return duplicate
	case 1205, 1213, 1020: // lock wait timeout, deadlock, record changed since last read
		return conflict
	case 1040, 1203, // too many connections
		1053, 1077, 1079, 1152, 1159, 1161, 1184, // shutdown, aborted connection, network
		1317, 1927, // interrupted, connection killed
		1290, 1792, 1836, // read-only, as after a failover
		1047: // a Galera node that is not in its cluster
		return unreachable
	}
	return permanent
}
