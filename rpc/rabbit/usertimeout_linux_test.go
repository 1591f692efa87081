// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// userTimeout asks the kernel.
func userTimeout(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ms int
	if e := raw.Control(func(fd uintptr) {
		ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return time.Duration(ms) * time.Millisecond
}

// The kernel ends a connection whose peer is gone, and keeps one whose broker
// takes no messages for now.
func TestKernelBoundsUnacknowledgedData(t *testing.T) {
	t.Parallel()
	u := newPicky(t, keeping(func(int) bool { return true })).listen()
	o := DefaultOptions()
	c, err := newDialer(u, &o, nil).dialAny(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(c, 1)
	defer s.close(t.Context())
	for _, step := range []struct {
		blocked bool
		want    time.Duration
	}{{false, answerTime}, {true, 0}, {true, 0}, {false, answerTime}} {
		s.block(amqp.Blocking{Active: step.blocked}, rpc.OrDiscard(nil))
		if got := userTimeout(t, c.socket); got != step.want {
			t.Errorf("blocked: %v, TCP_USER_TIMEOUT is %v, want %v", step.blocked, got, step.want)
		}
	}
}
