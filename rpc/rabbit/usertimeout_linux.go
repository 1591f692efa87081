// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent data may stay unacknowledged. Without it the
// kernel goes on for a quarter of an hour with a peer that is gone without a word.
// oslo.messaging: impl_rabbit.py _set_transport_socket_timeout
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return // the connection is closed
	}
	// A kernel that does not know the option keeps its own time.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
