// SPDX-License-Identifier: Apache-2.0

package database

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// address is a parsed SQLAlchemy URL.
type address struct {
	backend  string // mysql (or mariadb), postgresql or sqlite; what follows a "+" names a Python driver and says nothing here
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

// parseAddress parses a URL. Its errors show nothing of a text that it cannot parse,
// since the text may hold the password.
func parseAddress(text string) (address, error) {
	m := addressForm.FindStringSubmatch(text)
	if m == nil {
		return address{}, errAddress
	}
	a := address{host: m[4] + m[5], port: m[6], name: m[7]}
	a.backend, _, _ = strings.Cut(m[1], "+")
	// A remaining "@" most likely belongs to a password that was not encoded. The rest
	// of the password must not be shown as part of the host.
	if a.backend != "sqlite" && strings.Contains(a.host+a.port+a.name, "@") {
		return address{}, errAddress
	}
	if a.backend == "postgres" {
		a.backend = "postgresql"
	}
	if a.backend == "mariadb" {
		a.backend = "mysql"
	}
	if strings.Trim(a.port, "0123456789") != "" {
		return address{}, errAddress
	}
	a.user, a.password, a.query = unquote(m[2]), unquote(m[3]), parseQuery(m[8])
	return a, nil
}

// unquote decodes percent-encoding as Python does: an invalid escape stays.
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && !strings.ContainsAny(s[i+1:i+3], "+-_") {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

// parseQuery is urllib.parse.parse_qsl: parameters without a value are none.
func parseQuery(s string) url.Values {
	values := url.Values{}
	for part := range strings.SplitSeq(s, "&") {
		name, value, _ := strings.Cut(part, "=")
		if value != "" {
			values.Add(unquote(strings.ReplaceAll(name, "+", " ")), unquote(strings.ReplaceAll(value, "+", " ")))
		}
	}
	return values
}

// String returns the URL in a form without secrets. Only the names of parameters are
// shown, because some drivers accept a password there.
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

// overridden returns the address as Python's drivers see it: parameters that name the
// user and the like win over the URL's own parts. name is the driver's word for the
// database.
func (a address) overridden(name string) address {
	for key, to := range map[string]*string{"user": &a.user, "password": &a.password, "host": &a.host, "port": &a.port, name: &a.name} {
		*to = cmp.Or(a.param(key), *to)
	}
	return a
}

// param returns a parameter of the URL, the last of equal ones.
func (a address) param(name string) string {
	values := a.query[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// flag parses a boolean parameter as the Python drivers do.
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
