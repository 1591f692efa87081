// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func TestFacility(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"LOG_USER": 1, "daemon": 3, "LOCAL0": 16, "log_local7": 23, "LOG_CRON": 9, "LOG_AUTHPRIV": 10} {
		if got, err := facilityOf(name); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for _, name := range []string{"LOG_NOPE", "", "LOG_"} {
		if _, err := facilityOf(name); err == nil || !strings.Contains(err.Error(), "syslog_log_facility") {
			t.Errorf("%q: error %v does not name the option", name, err)
		}
	}
}

func listenSyslog(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A syslog that comes, goes and comes again gets what is logged while it is there,
// and is no failure while it is not.
func TestSyslogComesAndGoes(t *testing.T) {
	t.Parallel()
	s, err := newSyslog("karbor", "LOG_LOCAL1")
	if err != nil {
		t.Fatal(err)
	}
	s.path = filepath.Join(t.TempDir(), "log")
	if s.connect() == nil {
		t.Error("connected to nothing")
	}
	at := time.Date(2026, 11, 2, 15, 4, 5, 0, time.UTC)
	s.write(logrus.InfoLevel, at, "lost")
	server := listenSyslog(t, s.path)
	s.write(logrus.InfoLevel, at.Add(syslogPause/2), "too early to try again")
	expect := func(want string) {
		t.Helper()
		text := make([]byte, 256)
		n, err := server.Read(text)
		if err != nil || string(text[:n]) != want {
			t.Errorf("got %q, want %q, %v", text[:n], want, err)
		}
	}
	s.write(logrus.WarnLevel, at.Add(syslogPause), "there")
	expect("<140>Nov  2 15:04:15 karbor: there\n")
	server.Close()
	s.write(logrus.InfoLevel, at.Add(syslogPause), "lost")
	server = listenSyslog(t, s.path+"2")
	defer server.Close()
	s.path += "2"
	s.write(logrus.ErrorLevel, at.Add(2*syslogPause), "again")
	expect("<139>Nov  2 15:04:25 karbor: again\n")
}

// A machine without syslog logs where it can, and says what it cannot.
func TestNoSyslog(t *testing.T) {
	t.Parallel()
	log, text := newLog(t, LogConfig{Syslog: true, Facility: "LOG_USER", Program: "karbor-test"})
	log.Info("hello")
	if !strings.Contains(text(), "hello") {
		t.Errorf("got %q", text())
	}
}
