// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest/faultproxy"
)

// proxy stands between a transport and the broker.
type proxy struct{ *faultproxy.Proxy }

// newProxy listens on a port of its own; url is u with the proxy as its host.
func newProxy(t testing.TB, u *rpc.TransportURL) (p *proxy, url *rpc.TransportURL) {
	t.Helper()
	f, err := faultproxy.Start(u.Brokers()[0].Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	copied := *u
	h := u.Brokers()[0]
	host, port, _ := net.SplitHostPort(f.Addr())
	h.Name = host
	h.Port, _ = strconv.Atoi(port)
	copied.Hosts = []rpc.Host{h}
	return &proxy{f}, &copied
}

func (p *proxy) cut() { p.Cut() }

// set takes the way to the broker down or up.
func (p *proxy) set(down bool) {
	p.Refuse(down)
	if down {
		p.Cut()
	}
}

// accepted counts the connections that reached the broker.
func (p *proxy) accepted() int { return p.Accepted() }
