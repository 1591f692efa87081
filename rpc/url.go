// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// DefaultPort is used for hosts without a port, with TLS too. oslo.messaging:
// impl_rabbit.py
const DefaultPort = 5672

// defaultCredentials are RabbitMQ's defaults, used for missing credentials.
const defaultCredentials = "guest"

// Host is one broker of a transport URL; parts missing in the URL are zero.
type Host struct {
	Name     string
	Port     int
	User     string
	Password string
}

// Address returns host:port, with brackets around an IPv6 address.
func (h Host) Address() string { return net.JoinHostPort(h.Name, strconv.Itoa(h.Port)) }

// TransportURL is a parsed transport_url.
type TransportURL struct {
	Scheme string
	// Hosts are in the order of the URL; each has its own credentials.
	Hosts []Host
	// VirtualHost is never empty: a URL without one means "/".
	VirtualHost string
	// Query holds driver options. Repeated options are joined with commas.
	Query url.Values
}

// ParseTransportURL parses oslo.messaging's transport_url:
//
//	rabbit://[user[:password]@]host[:port][,...]/[vhost][?option=value&...]
//
// Errors name the wrong part and never show a password.
// oslo.messaging: transport.py TransportURL.parse
func ParseTransportURL(text string) (*TransportURL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return nil, errors.New(`transport URL: no scheme, want "rabbit://..."`)
	}
	// kombu+amqp is oslo's other name for the same driver.
	if scheme != "rabbit" && scheme != "kombu+amqp" {
		return nil, fmt.Errorf(`transport URL: scheme %q is not known, want "rabbit" (TLS is the option ssl)`, scheme)
	}
	u := &TransportURL{Scheme: scheme}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")

	var err error
	if u.Query, err = parseOptions(query); err != nil {
		return nil, err
	}
	if u.Hosts, err = parseHosts(hosts); err != nil {
		return nil, err
	}
	if u.VirtualHost = unescape(path); u.VirtualHost == "" {
		u.VirtualHost = "/"
	}
	return u, nil
}

// Brokers returns the hosts with every default filled in; there is at least one.
func (u *TransportURL) Brokers() []Host {
	hosts := append([]Host(nil), u.Hosts...)
	if len(hosts) == 0 {
		hosts = []Host{{Name: "localhost"}}
	}
	for i := range hosts {
		h := &hosts[i]
		if h.Port == 0 {
			h.Port = DefaultPort
		}
		if h.User == "" {
			h.User = defaultCredentials
		}
		if h.Password == "" {
			h.Password = defaultCredentials
		}
	}
	return hosts
}

// String returns the URL without passwords and options.
func (u *TransportURL) String() string {
	names := make([]string, len(u.Hosts))
	for i, h := range u.Hosts {
		names[i] = h.Name
		if strings.Contains(h.Name, ":") {
			names[i] = "[" + h.Name + "]"
		}
		if h.Port != 0 {
			names[i] += ":" + strconv.Itoa(h.Port)
		}
		if h.User != "" {
			names[i] = url.PathEscape(h.User) + ":***@" + names[i]
		}
	}
	return u.Scheme + "://" + strings.Join(names, ",") + "/" + url.PathEscape(u.VirtualHost)
}

func parseOptions(query string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("transport URL: the options after ? are malformed")
	}
	for name, list := range values {
		values[name] = []string{strings.Join(list, ",")}
	}
	return values, nil
}

func parseHosts(text string) ([]Host, error) {
	var hosts []Host
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		h, err := parseHost(part)
		if err != nil {
			return nil, fmt.Errorf("transport URL: host %d: %w", len(hosts)+1, err)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func parseHost(text string) (Host, error) {
	var h Host
	// A user may contain a raw "@", a password a raw ":".
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		user, password, _ := strings.Cut(text[:at], ":")
		h.User, h.Password = unescape(user), unescape(password)
		text = text[at+1:]
	}
	port, hasPort := "", false
	if bracketed, ok := strings.CutPrefix(text, "["); ok {
		name, rest, closed := strings.Cut(bracketed, "]")
		if !closed {
			return h, errors.New("the IPv6 address has no closing bracket")
		}
		h.Name = name
		if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return h, errors.New("text between the IPv6 address and the port")
		}
	} else {
		h.Name, port, hasPort = strings.Cut(text, ":")
	}
	if !hasPort {
		return h, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return h, errors.New("the port is not a number from 1 to 65535")
	}
	h.Port = int(n)
	return h, nil
}

// unescape decodes percent escapes once. As in Python, a percent sign that begins no
// escape is kept.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
