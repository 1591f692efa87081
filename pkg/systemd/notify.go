// SPDX-License-Identifier: Apache-2.0

// Package systemd tells the service manager how the service does, by the
// protocol of sd_notify(3).
package systemd

import (
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier sends states to the service manager. A Notifier without a socket
// drops them: the service was started by hand.
type Notifier struct{ socket string }

// FromEnvironment finds the socket that systemd named, if any.
func FromEnvironment() *Notifier { return &Notifier{socket: os.Getenv("NOTIFY_SOCKET")} }

// Ready tells that the service serves.
func (n *Notifier) Ready() error { return n.send("READY=1") }

// Stopping tells that the service is about to end.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Reloading tells that the service reads its files again; Ready ends that.
func (n *Notifier) Reloading(monotonic time.Duration) error {
	return n.send("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(monotonic.Microseconds(), 10))
}

// Status sets the line that `systemctl status` shows.
func (n *Notifier) Status(text string) error { return n.send("STATUS=" + text) }

// ExtendTimeout asks for more time to start or stop.
func (n *Notifier) ExtendTimeout(d time.Duration) error {
	return n.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

func (n *Notifier) send(state string) error {
	if n.socket == "" {
		return nil
	}
	address := n.socket
	if address[0] == '@' { // an abstract socket
		address = "\x00" + address[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
