// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Log is the service's log with its destinations.
type Log struct {
	*logrus.Logger
	router *router
}

// NewLog opens the log. Its first entries are warnings about options that it cannot
// honour.
func NewLog(c LogConfig) (*Log, error) {
	zone, warning := localZone(os.LookupEnv("TZ"))
	warnings := append(c.Warnings, warning...)
	r := &router{zone: zone, rate: rateLimit{interval: time.Duration(c.RateInterval) * time.Second, burst: c.RateBurst}}
	var err error
	if r.levels, warning, err = newLevels(c.Debug, c.Levels); err != nil {
		return nil, err
	}
	warnings = append(warnings, warning...)
	if r.rate.except, err = exceptLevel(c.RateExcept); err != nil {
		return nil, err
	}
	if c.JSON {
		r.format = newJSONFormat(c.DateFormat)
	} else {
		r.format, warning = newLineFormat(c)
		warnings = append(warnings, warning...)
	}
	warning, err = r.open(c)
	if err != nil {
		return nil, err
	}
	l := &Log{Logger: logrus.New(), router: r}
	l.SetOutput(io.Discard) // the router writes
	l.SetFormatter(silent{})
	l.SetLevel(r.levels.lowest())
	l.SetReportCaller(l.IsLevelEnabled(logrus.DebugLevel) || r.format.uses(ofCaller...))
	l.AddHook(r)
	for _, text := range append(warnings, warning...) {
		l.Warn(text)
	}
	return l, nil
}

// OnStderr reports whether the log goes to standard error.
func (l *Log) OnStderr() bool { return l.router.stderr }

// Reopen opens the log file anew, after it was moved away. Without a file Reopen does
// nothing.
func (l *Log) Reopen() error {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	if l.router.file == nil {
		return nil
	}
	return l.router.file.reopen()
}

// Close closes the log file.
func (l *Log) Close() error {
	l.router.mu.Lock()
	defer l.router.mu.Unlock()
	if l.router.file == nil {
		return nil
	}
	return l.router.file.Close()
}

// silent is the formatter of a logger whose lines a hook writes.
type silent struct{}

// Format implements logrus.Formatter.
func (silent) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// format makes a line of a record.
type format interface {
	line(r *record) string
	// uses reports whether lines show one of the attributes.
	uses(attributes ...string) bool
}

// sink is a destination of lines.
type sink struct {
	color bool // it is looked at in a terminal
	write func(r *record, line string) error
}

// router decides which entries are logged, and where. It is a hook, since a formatter
// cannot drop an entry and an output does not know the entry's level.
type router struct {
	format format
	levels levels
	zone   *time.Location
	stderr bool // a sink is standard error

	mu    sync.Mutex // guards what follows, and keeps lines whole
	rate  rateLimit
	sinks []sink
	file  *logFile
}

// open opens the destinations of a configuration.
func (r *router) open(c LogConfig) (warnings []string, err error) {
	if c.File != "" {
		if r.file, err = openLogFile(c.File, c.Rotation, func() time.Time { return time.Now().In(r.zone) }); err != nil {
			return nil, err
		}
		r.sinks = append(r.sinks, sink{write: func(_ *record, line string) error {
			_, err := io.WriteString(r.file, line+"\n")
			return err
		}})
	}
	if r.stderr = c.File == "" || c.Stderr || c.Journal; r.stderr {
		r.sinks = append(r.sinks, sink{color: !c.Journal, write: func(rec *record, line string) error {
			if c.Journal {
				line = fmt.Sprintf("<%d>%s", severity(rec.entry.Level), line)
			}
			_, err := io.WriteString(os.Stderr, line+"\n")
			return err
		}})
	}
	if !c.Syslog {
		return nil, nil
	}
	s, err := newSyslog(c.Program, c.Facility)
	if err != nil {
		return nil, err
	}
	r.sinks = append(r.sinks, sink{write: func(rec *record, line string) error {
		s.write(rec.entry.Level, rec.time, line)
		return nil // the rest of the log tells what syslog has missed
	}})
	if err := s.connect(); err != nil {
		warnings = append(warnings, fmt.Sprintf("option use_syslog: syslog is away and is tried again now and then: %v", err))
	}
	return warnings, nil
}

// Levels implements logrus.Hook.
func (*router) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (r *router) Fire(e *logrus.Entry) error {
	rec := newRecord(e, r.zone)
	if !r.levels.enabled(rec.logger, e.Level) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pass, note := r.rate.pass(e)
	if !pass {
		return nil
	}
	err := r.send(rec)
	if note != "" {
		said := &logrus.Entry{Logger: e.Logger, Time: e.Time, Level: logrus.ErrorLevel, Message: note}
		err = errors.Join(err, r.send(newRecord(said, r.zone)))
	}
	return err
}

func (r *router) send(rec *record) error {
	var errs []error
	line := r.format.line(rec)
	for _, s := range r.sinks {
		text := line
		if s.color && r.format.uses("color") {
			colored := *rec
			colored.color = true
			text = r.format.line(&colored) + resetColor
		}
		errs = append(errs, s.write(rec, text))
	}
	return errors.Join(errs...)
}

// rateLimit bounds the number of entries logged in a period.
// oslo.log: rate_limit.py
type rateLimit struct {
	interval time.Duration
	burst    int
	except   int // entries of this level and above always pass

	end   time.Time
	count int
}

// pass reports whether an entry may be logged, and returns a note to log with the last
// entry of a period.
func (l *rateLimit) pass(e *logrus.Entry) (ok bool, note string) {
	if l.burst < 1 || l.interval < 1 || levelNumber(e.Level) >= l.except {
		return true, ""
	}
	if !e.Time.Before(l.end) {
		l.end, l.count = e.Time.Add(l.interval), 0
	}
	l.count++
	if l.count == l.burst {
		note = fmt.Sprintf("rate_limit_burst: %d lines in less than %s are logged, no more until then", l.burst, l.interval)
	}
	return l.count <= l.burst, note
}

// never is above every level.
const never = 1000

func exceptLevel(name string) (int, error) {
	if name == "" {
		return never, nil
	}
	level, ok := levelNumbers[strings.ToUpper(name)]
	if !ok {
		return 0, fmt.Errorf("option rate_limit_except_level: %q is no level", name)
	}
	return level, nil
}
