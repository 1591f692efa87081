// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"net"
	"testing"

	"github.com/karbor-project/karbor/rpc/rpctest/faultproxy"
)

// relay stands between a worker and a service and can take the way there down.
type relay struct{ proxy *faultproxy.Proxy }

// newRelay listens on a port of its own for connections to backend.
func newRelay(t testing.TB, backend string) *relay {
	t.Helper()
	p, err := faultproxy.Start(backend)
	must(t, err)
	t.Cleanup(p.Close)
	return &relay{p}
}

func (r *relay) address() string { return r.proxy.Addr() }

// set opens the way, or breaks all connections and every new one.
func (r *relay) set(up bool) {
	r.proxy.Refuse(!up)
	if !up {
		r.proxy.Cut()
	}
}

// take takes the way down: in silence, or by breaking all connections.
func (r *relay) take(silent bool) {
	if silent {
		r.proxy.Stall(true)
	} else {
		r.set(false)
	}
}

// give opens the way, however it was taken.
func (r *relay) give() {
	r.proxy.Stall(false)
	r.set(true)
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
