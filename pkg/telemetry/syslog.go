// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// syslogTime bounds how long a syslog that does not read may delay the service.
	syslogTime = 200 * time.Millisecond
	// syslogPause is the pause after syslog was found to be unavailable.
	syslogPause = 10 * time.Second
)

// facilities are the facilities of syslog(3), without LOG_.
var facilities = []string{"KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
	"", "", "", "", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"}

func facilityOf(name string) (int, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "LOG_")
	for number, known := range facilities {
		if known == short && short != "" {
			return number, nil
		}
	}
	return 0, fmt.Errorf("option syslog_log_facility in section [DEFAULT]: %q is not a facility of syslog", name)
}

// syslog sends lines to the machine's syslog. Lines are lost while syslog is
// unavailable or does not read; package log/syslog would make the service wait for it.
type syslog struct {
	tag      string
	facility int
	path     string

	conn net.Conn
	rest time.Time // when to try again
}

func newSyslog(tag, facility string) (*syslog, error) {
	number, err := facilityOf(facility)
	if err != nil {
		return nil, err
	}
	return &syslog{tag: tag, facility: number, path: "/dev/log"}, nil
}

// connect connects unless there is a connection.
func (s *syslog) connect() error {
	if s.conn != nil {
		return nil
	}
	var errs []error
	for _, network := range []string{"unixgram", "unix"} {
		conn, err := net.DialTimeout(network, s.path, syslogTime)
		if err == nil {
			s.conn = conn
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// write sends a line. After a failure it reconnects once, and then pauses.
func (s *syslog) write(level logrus.Level, at time.Time, line string) {
	text := fmt.Appendf(nil, "<%d>%s %s: %s\n", s.facility<<3|severity(level), at.Format(time.Stamp), s.tag, line)
	for range 2 {
		if at.Before(s.rest) {
			return
		}
		if s.connect() == nil && s.send(text) == nil {
			return
		}
	}
	s.rest = at.Add(syslogPause)
}

func (s *syslog) send(text []byte) error {
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogTime))
	if err == nil {
		_, err = s.conn.Write(text)
	}
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	return err
}
