// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// unbeaten is a connection without heartbeats: the broker's proposal of an interval
// reads as 0. The library takes the broker's own interval when none is asked for,
// where heartbeat_timeout_threshold = 0 switches heartbeats off.
// py-amqp: connection.py _on_tune
type unbeaten struct {
	net.Conn
	in    *bufio.Reader
	ready []byte // of the frame that has been read
	tuned bool
}

func newUnbeaten(c net.Conn) *unbeaten { return &unbeaten{Conn: c, in: bufio.NewReader(c)} }

const (
	frameHead   = 7 // type, channel and size
	frameEnd    = 1
	methodFrame = 1
	// maxTuneFrame bounds the frames up to connection.tune.
	maxTuneFrame = frameMax
)

// tuneMethod is the class and the method of connection.tune; its last two bytes are
// the interval. AMQP 0-9-1: reference, connection.tune
var tuneMethod = [4]byte{0, 10, 0, 30}

// Read implements net.Conn.
func (c *unbeaten) Read(p []byte) (int, error) {
	if len(c.ready) == 0 && !c.tuned {
		if err := c.frame(); err != nil {
			return 0, err
		}
	}
	if len(c.ready) > 0 {
		n := copy(p, c.ready)
		c.ready = c.ready[n:]
		return n, nil
	}
	return c.in.Read(p)
}

// frame reads the next frame of the handshake. What is no frame is left as it is.
func (c *unbeaten) frame() error {
	head, err := c.in.Peek(frameHead)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[3:])
	if head[0] != methodFrame || size > maxTuneFrame {
		c.tuned = true
		return nil
	}
	c.ready = make([]byte, frameHead+int(size)+frameEnd)
	if _, err := io.ReadFull(c.in, c.ready); err != nil {
		return err
	}
	payload := c.ready[frameHead : frameHead+size]
	if len(payload) >= len(tuneMethod)+2 && [4]byte(payload) == tuneMethod {
		binary.BigEndian.PutUint16(payload[len(payload)-2:], 0)
		c.tuned = true
	}
	return nil
}
