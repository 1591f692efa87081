// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// The fields that a line shows in places of their own.
const (
	// FieldLogger names the part of the service that speaks.
	FieldLogger = "logger"
	// FieldRequest, FieldUser and FieldProject tell whose request it is about.
	FieldRequest = "request_id"
	FieldUser    = "user_id"
	FieldProject = "project_id"
	// FieldGlobalRequest is the id that followed the request from service to service.
	FieldGlobalRequest = "global_request_id"
)

// lineFormat writes lines as oslo.log does:
//
//	2026-11-22 15:47:20.975 4711 INFO karbor.manager [None req-1 user project - - -] text key=value
//
// Fields without a place of their own follow the text, in order.
// oslo.log: _options.py logging_context_format_string
type lineFormat struct {
	date    string // layout of package time
	journal bool
	pid     int
}

func newLineFormat(strftime string, journal bool) *lineFormat {
	return &lineFormat{date: layout(strftime), journal: journal, pid: os.Getpid()}
}

// Format implements logrus.Formatter.
func (f *lineFormat) Format(e *logrus.Entry) ([]byte, error) {
	out := e.Buffer
	if out == nil {
		out = &bytes.Buffer{}
	}
	if f.journal {
		fmt.Fprintf(out, "<%d>", journalPriority(e.Level))
	}
	logger, _ := e.Data[FieldLogger].(string)
	if logger == "" {
		logger = "karbor"
	}
	fmt.Fprintf(out, "%s.%03d %d %s %s [%s] %s", e.Time.Format(f.date), e.Time.Nanosecond()/1e6, f.pid,
		levelName(e.Level), logger, identity(e.Data), oneLine(e.Message))
	for _, name := range otherFields(e.Data) {
		fmt.Fprintf(out, " %s=%s", name, fieldText(e.Data[name]))
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func identity(data logrus.Fields) string {
	request := text(data, FieldRequest, "")
	if request == "" {
		return "-"
	}
	return fmt.Sprintf("%s %s %s %s - - -", text(data, FieldGlobalRequest, "None"), request,
		text(data, FieldUser, "-"), text(data, FieldProject, "-"))
}

func text(data logrus.Fields, name, absent string) string {
	if s, ok := data[name].(string); ok && s != "" {
		return s
	}
	return absent
}

func otherFields(data logrus.Fields) []string {
	names := make([]string, 0, len(data))
	for name := range data {
		switch name {
		case FieldLogger, FieldRequest, FieldUser, FieldProject, FieldGlobalRequest:
		default:
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func fieldText(value any) string {
	s := oneLine(fmt.Sprint(value))
	if s == "" || strings.ContainsAny(s, " =\"") {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// oneLine keeps a text from faking a line of its own.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r") {
		return s
	}
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s)
}

// levelName is the name that Python's logging gives to the level.
func levelName(level logrus.Level) string {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return "CRITICAL"
	case logrus.WarnLevel:
		return "WARNING"
	case logrus.TraceLevel:
		return "TRACE"
	default:
		return strings.ToUpper(level.String())
	}
}

// journalPriority is the level of syslog(3).
func journalPriority(level logrus.Level) int {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return 2
	case logrus.ErrorLevel:
		return 3
	case logrus.WarnLevel:
		return 4
	case logrus.InfoLevel:
		return 6
	default:
		return 7
	}
}

// layout turns strftime's notation into package time's. An unknown directive
// stays as it is, so that a wrong format shows in the log instead of hiding it.
func layout(strftime string) string {
	return strings.NewReplacer("%Y", "2006", "%y", "06", "%m", "01", "%d", "02", "%H", "15", "%M", "04", "%S", "05",
		"%b", "Jan", "%z", "-0700", "%Z", "MST", "%a", "Mon", "%%", "%").Replace(strftime)
}

// WithRequest adds the identity of a request to what log writes.
func WithRequest(log logrus.FieldLogger, c *requestcontext.RequestContext) logrus.FieldLogger {
	fields := logrus.Fields{FieldRequest: c.RequestID}
	log = orDiscard(log)
	if c.UserID != "" {
		fields[FieldUser] = c.UserID
	}
	if c.ProjectID != "" {
		fields[FieldProject] = c.ProjectID
	}
	if c.GlobalRequestID != "" {
		fields[FieldGlobalRequest] = c.GlobalRequestID
	}
	return log.WithFields(fields)
}

// Named gives the part of the service that speaks through the result a name. A
// nil log discards.
func Named(log logrus.FieldLogger, name string) logrus.FieldLogger {
	return orDiscard(log).WithField(FieldLogger, "karbor."+name)
}

// orDiscard makes a log of none.
func orDiscard(log logrus.FieldLogger) logrus.FieldLogger {
	if log != nil {
		return log
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	return silent
}
