// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"fmt"
)

// DefaultExchange is the exchange of a target that names none.
// oslo.messaging: [DEFAULT] control_exchange
const DefaultExchange = "openstack"

// DefaultVersion is the version of a request or an endpoint that names none.
// oslo.messaging: rpc/dispatcher.py
const DefaultVersion = "1.0"

// Target says where a message goes or what a server listens on.
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

// ExchangeName is the exchange with the default applied.
func (t Target) ExchangeName() string {
	if t.Exchange == "" {
		return DefaultExchange
	}
	return t.Exchange
}

// String shows the target for logs and errors.
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

// checkServer reports what a server target lacks.
// oslo.messaging: rpc/server.py refuses a target without topic or server
func (t Target) checkServer() error {
	if t.Topic == "" {
		return errors.New("rpc: a server target needs a topic")
	}
	if t.Server == "" {
		return fmt.Errorf("rpc: the server target of topic %q needs a server name", t.Topic)
	}
	return nil
}
