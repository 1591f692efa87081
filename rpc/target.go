// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultExchange is the exchange of a target that names none.
// oslo.messaging: [DEFAULT] control_exchange
const DefaultExchange = "openstack"

// DefaultVersion is the version of a request or an endpoint that names none.
// oslo.messaging: rpc/dispatcher.py
const DefaultVersion = "1.0"

// Target is the destination of a message or the address of a server.
type Target struct {
	// Exchange scopes Topic; empty means [DefaultExchange]. Fanouts ignore it.
	Exchange string
	// Topic names the shared queue of all servers of a kind.
	Topic string
	// Namespace selects among the endpoints of a server; empty means none.
	Namespace string
	// Version is the version of the interface that a client asks for, "M.m".
	// Empty leaves it out of the message, and the server takes "1.0".
	Version string
	// Server directs a message to one server, or names the listening one.
	Server string
	// Fanout sends a cast to every server of Topic.
	Fanout bool
}

// ExchangeName returns the exchange, or the default if none is set.
func (t Target) ExchangeName() string {
	if t.Exchange == "" {
		return DefaultExchange
	}
	return t.Exchange
}

// String formats the target for logs and errors.
func (t Target) String() string {
	s := t.ExchangeName() + "/" + t.Topic
	if t.Server != "" {
		s += "." + t.Server
	}
	if t.Fanout {
		s += " (fanout)"
	}
	return s
}

// checkServer returns an error if a server target is incomplete. oslo.messaging:
// rpc/server.py refuses a target without topic or server
func (t Target) checkServer() error {
	if t.Topic == "" {
		return errors.New("rpc: a server target needs a topic")
	}
	if t.Server == "" {
		return fmt.Errorf("rpc: the server target of topic %q needs a server name", t.Topic)
	}
	return nil
}

// compatible reports whether an implementation of version i serves requests of
// version r: same major, r no newer in minor and, at equal minor, in revision.
// oslo.messaging: oslo_messaging/_utils.py version_is_compatible
func compatible(i, r string) (bool, error) {
	implemented, err := parseVersion(i)
	if err != nil {
		return false, err
	}
	requested, err := parseVersion(r)
	if err != nil {
		return false, err
	}
	return implemented.serves(requested), nil
}

// version is major, minor and an optional revision.
type version [3]int

func (v version) serves(r version) bool {
	if r[0] != v[0] || r[1] > v[1] {
		return false
	}
	return r[1] < v[1] || r[2] <= v[2]
}

// parseVersion parses "M.m" or "M.m.r"; parts after the third are ignored.
func parseVersion(text string) (version, error) {
	var v version
	rest, more := text, true
	for i := 0; more && i < len(v); i++ {
		var part string
		part, rest, more = strings.Cut(rest, ".")
		n, err := strconv.Atoi(part)
		if err != nil {
			return version{}, fmt.Errorf("version %q: part %d is not a number", text, i+1)
		}
		v[i] = n
		if i == 0 && !more {
			return version{}, fmt.Errorf("version %q is not of the form major.minor", text)
		}
	}
	return v, nil
}
