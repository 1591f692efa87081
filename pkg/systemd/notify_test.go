// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"net"
	"path/filepath"
	"testing"
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
		{n.Ready, "READY=1"},
		{n.Stopping, "STOPPING=1"},
		{func() error { return n.Status("serving") }, "STATUS=serving"},
	} {
		if err := c.send(); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 256)
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
	if err := (&Notifier{}).Ready(); err != nil {
		t.Error(err)
	}
}
