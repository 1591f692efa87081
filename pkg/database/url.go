// SPDX-License-Identifier: Apache-2.0

package database

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// address is a connection URL of SQLAlchemy, taken apart.
type address struct {
	backend  string // mysql, postgresql or sqlite; what follows a "+" names a Python driver and says nothing here
	user     string
	password string
	host     string
	port     string
	name     string // of the database; for sqlite its path
	query    url.Values
}

// sqlalchemy: engine/url.py. User and password may hold any character but the
// delimiters, and are percent-encoded; the name of the database is not.
var addressForm = regexp.MustCompile(`^([\w+]+)://` +
	`(?:([^:/]*)(?::([^@]*))?@)?` +
	`(?:(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?)?` +
	`(?:/([^?]*))?` +
	`(?:\?(.*))?$`)

var errAddress = errors.New("the connection URL is not of the form backend://user:password@host:port/database, with special characters of user and password percent-encoded")

// parseAddress takes a URL apart. Its errors show nothing of a text that it
// could not understand, since that holds the password.
func parseAddress(text string) (address, error) {
	m := addressForm.FindStringSubmatch(text)
	if m == nil {
		return address{}, errAddress
	}
	a := address{host: m[4] + m[5], port: m[6], name: m[7]}
	a.backend, _, _ = strings.Cut(m[1], "+")
	// An "@" left over is most likely one of a password that was not encoded,
	// the rest of which must not be taken, and shown, for something else.
	if a.backend != "sqlite" && strings.Contains(a.host+a.port+a.name, "@") {
		return address{}, errAddress
	}
	if a.backend == "postgres" {
		a.backend = "postgresql"
	}
	var err error
	if a.user, err = url.PathUnescape(m[2]); err != nil {
		return address{}, errAddress
	}
	if a.password, err = url.PathUnescape(m[3]); err != nil {
		return address{}, errAddress
	}
	if a.query, err = url.ParseQuery(m[8]); err != nil {
		return address{}, errAddress
	}
	return a, nil
}

// String is the URL as it may be shown. Of the parameters only the names are,
// because some drivers take a password there.
func (a address) String() string {
	var b strings.Builder
	b.WriteString(a.backend + "://")
	if a.user != "" {
		b.WriteString(url.PathEscape(a.user))
	}
	if a.password != "" {
		b.WriteString(":***")
	}
	if a.user != "" || a.password != "" {
		b.WriteByte('@')
	}
	switch {
	case a.port != "":
		b.WriteString(net.JoinHostPort(a.host, a.port))
	case strings.Contains(a.host, ":"):
		b.WriteString("[" + a.host + "]")
	default:
		b.WriteString(a.host)
	}
	if a.name != "" {
		b.WriteString("/" + a.name)
	}
	return b.String()
}

// param returns a parameter of the URL, the last of equal ones.
func (a address) param(name string) string {
	values := a.query[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// flag reads a parameter as the Python drivers read a boolean.
func (a address) flag(name string, byDefault bool) (bool, error) {
	switch strings.ToLower(a.param(name)) {
	case "":
		return byDefault, nil
	case "1", "true", "yes", "on":
		return true, nil
	case "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("parameter %s is not true or false", name)
}
