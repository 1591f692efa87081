// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bufio"
	"net"
)

// readSize is what one system call can bring. The library asks for 4 kB, three or
// four messages, at a time.
const readSize = 64 << 10

// reading is a connection that reads ahead.
type reading struct {
	net.Conn
	ahead *bufio.Reader
}

func newReading(c net.Conn) *reading {
	return &reading{Conn: c, ahead: bufio.NewReaderSize(c, readSize)}
}

// Read implements net.Conn.
func (r *reading) Read(p []byte) (int, error) { return r.ahead.Read(p) }
