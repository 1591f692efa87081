// SPDX-License-Identifier: Apache-2.0

package torture

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// stranger is an address where something listens that does not speak AMQP.
func stranger(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return l.Addr().String()
}

// deadHosts has one host that lives among one that refuses, one that swallows
// everything and one that is something else; then another one comes to life.
func (w *world) deadHosts(t *testing.T) {
	first, second, hole := w.proxy(t), w.proxy(t), w.proxy(t)
	hole.Stall(true)
	second.Refuse(true)
	url := fmt.Sprintf("rabbit://guest:guest@%s,guest:guest@%s,guest:guest@%s,guest:guest@%s,guest:guest@%s/",
		nobody(t), hole.Addr(), stranger(t), first.Addr(), second.Addr())
	tr, _ := connect(t, url, nil)
	target := w.target(t, "hosts")
	begin(t, serve(t, tr, target, nil))
	ping(t, tr, target.Topic)
	second.Refuse(false)
	first.Refuse(true)
	first.Reset()
	ping(t, tr, target.Topic)
	until(t, "both connections by the second host", func() bool { return second.Accepted() >= 2 && first.Connections() == 0 })
}

// refusingHost has a host that refuses the login before one that does not: each host
// of a URL has credentials of its own.
func (w *world) refusingHost(t *testing.T) {
	target := w.target(t, "refusing")
	for range 4 { // hosts are tried in any order
		url := fmt.Sprintf("rabbit://guest:wrong@%s,guest:guest@%s/", w.node.Address(), w.client.proxy.Addr())
		tr, _ := connect(t, url, nil)
		begin(t, serve(t, tr, target, nil))
		ping(t, tr, target.Topic)
	}
}
