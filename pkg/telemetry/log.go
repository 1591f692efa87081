// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"io"
	"log/syslog"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	syslogrus "github.com/sirupsen/logrus/hooks/syslog"
)

// Log is the service's log with the places that it goes to.
type Log struct {
	*logrus.Logger
	file   *logFile
	stderr bool
}

// NewLog opens the log.
func NewLog(c LogConfig) (*Log, error) {
	l := &Log{Logger: logrus.New()}
	l.SetLevel(logrus.InfoLevel)
	if c.Debug {
		l.SetLevel(logrus.DebugLevel)
	}
	l.SetFormatter(formatter(c))
	if err := l.openOutput(c); err != nil {
		return nil, err
	}
	if !c.Syslog {
		return l, nil
	}
	facility, err := facilityOf(c.Facility)
	if err != nil {
		return nil, err
	}
	hook, err := syslogrus.NewSyslogHook("", "", facility, c.Program)
	if err != nil {
		return nil, fmt.Errorf("open syslog: %w", err)
	}
	l.AddHook(hook)
	return l, nil
}

func formatter(c LogConfig) logrus.Formatter {
	if c.JSON {
		return &logrus.JSONFormatter{TimestampFormat: "2006-01-02T15:04:05.000Z07:00", FieldMap: logrus.FieldMap{
			logrus.FieldKeyTime: "asctime", logrus.FieldKeyLevel: "levelname", logrus.FieldKeyMsg: "message"}}
	}
	return newLineFormat(c.DateFormat, c.Journal && c.File == "")
}

func (l *Log) openOutput(c LogConfig) error {
	l.stderr = c.File == "" || c.Stderr
	if c.File == "" {
		l.SetOutput(os.Stderr)
		return nil
	}
	file, err := openLogFile(c.File, c.WatchFile)
	if err != nil {
		return err
	}
	l.file = file
	if c.Stderr {
		l.SetOutput(io.MultiWriter(file, os.Stderr))
		return nil
	}
	l.SetOutput(file)
	return nil
}

// OnStderr tells whether standard error shows the log.
func (l *Log) OnStderr() bool { return l.stderr }

// Reopen opens the log file anew, after it was moved away. Without a file it
// does nothing.
func (l *Log) Reopen() error {
	if l.file == nil {
		return nil
	}
	return l.file.reopen()
}

// Close closes the log file.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func facilityOf(name string) (syslog.Priority, error) {
	facilities := map[string]syslog.Priority{
		"LOG_KERN": syslog.LOG_KERN, "LOG_USER": syslog.LOG_USER, "LOG_MAIL": syslog.LOG_MAIL, "LOG_DAEMON": syslog.LOG_DAEMON,
		"LOG_AUTH": syslog.LOG_AUTH, "LOG_SYSLOG": syslog.LOG_SYSLOG, "LOG_LOCAL0": syslog.LOG_LOCAL0, "LOG_LOCAL1": syslog.LOG_LOCAL1,
		"LOG_LOCAL2": syslog.LOG_LOCAL2, "LOG_LOCAL3": syslog.LOG_LOCAL3, "LOG_LOCAL4": syslog.LOG_LOCAL4,
		"LOG_LOCAL5": syslog.LOG_LOCAL5, "LOG_LOCAL6": syslog.LOG_LOCAL6, "LOG_LOCAL7": syslog.LOG_LOCAL7,
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "LOG_") {
		full = "LOG_" + full
	}
	facility, ok := facilities[full]
	if !ok {
		return 0, fmt.Errorf("option syslog_log_facility in section [DEFAULT]: %q is not a facility of syslog", name)
	}
	return facility, nil
}
