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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// dialTimeout bounds one attempt to connect, if the URL sets no timeout.
const dialTimeout = 10 * time.Second

// mysqlDialect is the dialect of MySQL and MariaDB.
type mysqlDialect struct{}

var _ dialect = mysqlDialect{}

func (mysqlDialect) open(a address, o Options) (*sql.DB, error) {
	c, err := mysqlConfig(a, o)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return pooled(sql.OpenDB(preparing{connector, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"}), o), nil
}

func mysqlConfig(a address, o Options) (*mysql.Config, error) {
	a, err := withOptionFile(a.overridden("database"))
	if err != nil {
		return nil, err
	}
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
	c.MaxAllowedPacket = 0 // the driver asks the server, and says itself what is too large
	// oslo.db: option mysql_sql_mode, default TRADITIONAL
	// MySQL takes what follows it for a comment.
	c.Params = map[string]string{"sql_mode": fmt.Sprintf("'TRADITIONAL' /*M!100300 , idle_transaction_timeout=%d */", int(o.Abandoned.Seconds()))}
	if err := mysqlParams(c, a); err != nil {
		return nil, err
	}
	charset, err := mysqlCharset(a.param("charset"))
	if err != nil {
		return nil, err
	}
	return c, c.Apply(mysql.Charset(charset, ""))
}

// mysqlCharset returns the character set of a connection. Texts are UTF-8 here in any
// case, and the server converts what tables keep otherwise. In some character sets the
// second byte of a character may be a quote or a backslash, which must not be in
// statements that have their values in them.
func mysqlCharset(name string) (string, error) {
	switch strings.ToLower(name) {
	case "utf8", "utf8mb3":
		return "utf8", nil
	case "", "utf8mb4", "latin1", "ascii":
		return "utf8mb4", nil
	}
	return "", errors.New("parameter charset: only utf8mb4, utf8, latin1 and ascii are safe here")
}

// mysqlParams reads the parameters of PyMySQL and mysqlclient that matter
// here. Others are tolerated, but not those of TLS and authentication: to ignore one
// could mean to talk in the clear, or to the wrong server.
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
	c.AllowFallbackToPlaintext = secure != nil && strings.EqualFold(a.param("ssl_mode"), "PREFERRED")
	return nil
}

// guarded are the beginnings of names of parameters that concern security.
var guarded = []string{"ssl", "tls", "auth", "server_public_key", "get_server_public_key", "option_files", "require"}

// mysqlTLS returns nil if the URL does not request TLS. As with PyMySQL, the server is
// verified only if a CA is given.
func mysqlTLS(a address) (*tls.Config, error) {
	wanted := false
	for name := range a.query {
		switch name {
		case "ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity", "ssl_mode":
			wanted = true
		case "ssl_disabled":
		default:
			if slices.ContainsFunc(guarded, func(head string) bool { return strings.HasPrefix(name, head) }) {
				return nil, fmt.Errorf("parameter %s is not known", name)
			}
		}
	}
	disabled, err := a.flag("ssl_disabled", false)
	if err != nil || disabled || !wanted {
		return nil, err
	}
	mode := strings.ToUpper(a.param("ssl_mode"))
	if mode == "DISABLED" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(a.host, "localhost")}
	ca, folder := a.param("ssl_ca"), a.param("ssl_capath")
	if ca != "" || folder != "" {
		if c.RootCAs, err = certificates(ca, folder); err != nil {
			return nil, err
		}
	}
	if cert := a.param("ssl_cert"); cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, cmp.Or(a.param("ssl_key"), cert))
		if err != nil {
			return nil, fmt.Errorf("reading client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	chain := c.RootCAs != nil
	name := chain
	switch mode {
	case "", "PREFERRED":
	case "REQUIRED", "VERIFY_CA":
		chain, name = chain || mode == "VERIFY_CA", false
	case "VERIFY_IDENTITY":
		chain, name = true, true
	default:
		return nil, errors.New("parameter ssl_mode is not DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY")
	}
	return c, mysqlVerification(c, a, chain, name)
}

// mysqlVerification configures the verification of the server's certificate: its chain
// and its name.
func mysqlVerification(c *tls.Config, a address, chain, name bool) error {
	byDefault := chain
	chain, err := a.flag("ssl_verify_cert", chain)
	if err != nil {
		return err
	}
	if chain != byDefault {
		name = chain
	}
	if name, err = a.flag("ssl_check_hostname", name); err != nil {
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

// verifyChain verifies a server's certificate, except for the name.
func verifyChain(roots *x509.CertPool, s tls.ConnectionState) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// certificates reads the certificates of a file and of the files in a folder; either
// path may be empty.
func certificates(path, folder string) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading CA certificates: %w", err)
		}
		if found = pool.AppendCertsFromPEM(text); !found {
			return nil, fmt.Errorf("no CA certificate in %s", path)
		}
	}
	if folder != "" {
		files, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("reading CA certificates: %w", err)
		}
		for _, f := range files {
			if text, err := os.ReadFile(filepath.Join(folder, f.Name())); err == nil && pool.AppendCertsFromPEM(text) {
				found = true
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("no CA certificate in %s", folder)
	}
	return pool, nil
}

func (mysqlDialect) rebind(query string) string { return query }
func (mysqlDialect) quote(name string) string   { return "`" + name + "`" }
func (mysqlDialect) oneWriter() bool            { return false }
func (mysqlDialect) forUpdate() string          { return " FOR UPDATE" }
func (mysqlDialect) timestamp(t time.Time) any  { return t }

func (mysqlDialect) insert(ctx context.Context, tx *sql.Tx, query string, args []any) (int64, error) {
	return lastInsertID(ctx, tx, query, args)
}

// text replaces each character that needs more than the three bytes of the tables' charset.
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

// renew closes idle connections: a connection keeps the rights on its database that its
// user had when it was opened.
func (mysqlDialect) renew(pool *sql.DB, o Options) bool {
	pool.SetMaxIdleConns(-1)
	pool.SetMaxIdleConns(o.MaxIdleConns)
	return true
}

// room asks for the bound of statements, which at worst are the values with each byte
// escaped, and some words around.
func (mysqlDialect) room(ctx context.Context, tx *sql.Tx) (int, error) {
	var packet int
	err := tx.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet)
	return (packet - statementWords) / 2, err
}

// statementWords is an upper bound on the size of a statement without its long values.
const statementWords = 64 << 10

func (mysqlDialect) longText() int { return maxText }

func (mysqlDialect) tableOptions() string {
	return " ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci"
}

// isolation implements dialect. The session's default saves each transaction a round
// trip.
func (mysqlDialect) isolation() sql.IsolationLevel { return sql.LevelDefault }
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

// ownType uses bytes for texts too: MySQL's collations pad with blanks, and a
// connection with charset=utf8, such as karbor's, cannot transmit all of Unicode.
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

// classify uses the error numbers of MySQL's and MariaDB's references.
func (mysqlDialect) classify(err error) class {
	switch {
	case errors.Is(err, mysql.ErrInvalidConn):
		return unreachable
	case errors.Is(err, mysql.ErrPktTooLarge):
		return tooLarge
	}
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return unknown
	}
	if c, known := mysqlClasses[e.Number]; known {
		return c
	}
	return refused
}

// mysqlClasses maps error numbers to their classes. Any other error is a refusal.
var mysqlClasses = func() map[uint16]class {
	classes := map[uint16]class{}
	for c, numbers := range map[class][]uint16{
		duplicate: {1062},
		conflict: {
			1205, 1213, 1020, // lock wait timeout, deadlock, record changed since last read
			3101,             // what 1213 is at a COMMIT of Galera in Group Replication: another node has written a row
			1412, 1615, 1243, // the table was changed meanwhile, a statement has to be prepared again
		},
		unreachable: {
			1040, 1203, 1226, 1129, // too many connections, of all or of this user; too many that broke
			1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, // shutdown, aborted connection, network
			1317, 1927, 1969, 3024, // interrupted, connection killed, took too long
			1290, 1792, 1836, 3032, 3168, // read-only, as after a failover; offline
			1047,                               // a Galera node that is not in its cluster
			1021, 1037, 1038, 1041, 1114, 1135, // no room: disk, memory, table, thread
			1030, 1180, 1194, 1195, // the storage engine fails
		},
		tooLong:  {1406, 1264, 1118},
		tooLarge: {1153, 1301},
		denied: {
			1044, 1045, 1130, 1131, 1132, 1133, 1142, 1143, 1227, 1251, 1370, 1410, 1698,
			1820, 1862, 3118, 3159, 4151, // the password has expired, the account is locked, TLS is required
		},
		missing:    {1049, 1051, 1054, 1109, 1146},
		constraint: {1048, 1216, 1217, 1364, 1451, 1452, 3819, 4025},
		invalid:    {1292, 1300, 1366, 3140},
	} {
		for _, n := range numbers {
			classes[n] = c
		}
	}
	return classes
}()
