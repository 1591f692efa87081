// SPDX-License-Identifier: Apache-2.0

// Package systemd reports the state of the service to the service manager, by the
// protocol of sd_notify(3).
package systemd

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/printable"
)

// sendTime bounds how long a service manager that does not read may delay the service.
const sendTime = time.Second

// Notifier sends states to the service manager, each with the line shown by `systemctl
// status`. A Notifier without a socket drops them: the service was started by hand.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// FromEnvironment returns a Notifier for the socket in this process's environment.
func FromEnvironment() *Notifier {
	n := &Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	microseconds, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err == nil && microseconds > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(microseconds) * time.Microsecond
	}
	return n
}

// WatchdogInterval is how often the service has to send Alive: twice in the time of
// option WatchdogSec. It is 0 when the service manager does not watch.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n.socket == "" {
		return 0
	}
	return n.watchdog / 2
}

// Alive tells the watchdog that the service is working.
func (n *Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Ready reports that the service is ready.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", statusLine(status)) }

// Stopping reports that the service is about to end.
func (n *Notifier) Stopping(status string) error { return n.send("STOPPING=1", statusLine(status)) }

// Reloading reports that the service rereads its files; Ready ends that state.
func (n *Notifier) Reloading(monotonic time.Duration, status string) error {
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic.Microseconds(), 10), statusLine(status))
}

// Status sets the line that `systemctl status` shows.
func (n *Notifier) Status(text string) error { return n.send(statusLine(text)) }

// longestStatus is the maximum size of a status text. If a datagram is too large for
// the socket, the state in it is lost too.
const longestStatus = 1024

// statusLine keeps a text from being read as another state.
func statusLine(text string) string {
	return "STATUS=" + printable.Cut(printable.Line(text), longestStatus)
}

func (n *Notifier) send(states ...string) error {
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
	if err := conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(strings.Join(states, "\n")))
	return err
}
