// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := &Notifier{socket: path}
	for _, c := range []struct {
		send func() error
		want string
	}{
		{func() error { return n.Ready("serving") }, "READY=1\nSTATUS=serving"},
		{func() error { return n.Stopping("a\nb\rREADY=1") }, "STOPPING=1\nSTATUS=a\\nb\\rREADY=1"},
		{func() error { return n.Reloading(5*time.Second, "r") }, "RELOADING=1\nMONOTONIC_USEC=5000000\nSTATUS=r"},
		{func() error { return n.Status("\x1b[2J" + strings.Repeat("x", 1<<20)) },
			`STATUS=\x1b[2J` + strings.Repeat("x", 994) + "...(1047582 more bytes)"},
		{n.Alive, "WATCHDOG=1"},
		{func() error { return n.Status("serving") }, "STATUS=serving"},
	} {
		if err := c.send(); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 2*longestStatus)
		length, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buffer[:length]); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestWithoutSystemd(t *testing.T) {
	t.Parallel()
	if err := (&Notifier{}).Ready(""); err != nil {
		t.Error(err)
	}
}

// The watchdog is for the process that systemd started, and is told twice in its
// time.
func TestWatchdogInterval(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		socket, microseconds, pid string
		want                      time.Duration
	}{
		{"/s", "60000000", own, 30 * time.Second},
		{"/s", "60000000", "", 30 * time.Second},
		{"/s", "60000000", own + "0", 0},
		{"/s", "", own, 0},
		{"/s", "soon", own, 0},
		{"/s", "-5", own, 0},
		{"", "60000000", own, 0},
	} {
		t.Setenv("NOTIFY_SOCKET", c.socket)
		t.Setenv("WATCHDOG_USEC", c.microseconds)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := FromEnvironment().WatchdogInterval(); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}
