// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-strftime"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// Fields of an entry with their own place in a line.
const (
	fieldLogger  = "logger"  // the part of the service that speaks
	fieldContext = "context" // the *requestcontext.RequestContext that the entry is about
)

// longestLine is the maximum size of a line: a text from outside can have megabytes.
const longestLine = 8 << 10

// short writes a record with more and more shortened texts until the line fits. Each
// text states how much of it is missing, and a JSON object stays valid.
func short(r *record, write func() string) string {
	for r.most = longestLine; ; r.most /= 2 {
		if line := write(); len(line) <= longestLine || r.most == 0 {
			return line
		}
	}
}

// record is a log entry with the fields that formats show.
type record struct {
	entry  *logrus.Entry
	time   time.Time // in the log's zone
	logger string
	about  *requestcontext.RequestContext // nil when it is about no request
	color  bool
	// summarized reports whether the format shows the error in its own place.
	summarized bool
	// most is the number of bytes shown of each text of the entry.
	most int
}

// text returns a text in the form for the log.
func (r *record) text(s string) string { return printable.Cut(s, r.most) }

func newRecord(e *logrus.Entry, zone *time.Location) *record {
	r := &record{entry: e, time: e.Time.In(zone), logger: rootLogger}
	if name, ok := e.Data[fieldLogger].(string); ok && name != "" {
		r.logger = name
	}
	if c, ok := e.Data[fieldContext].(*requestcontext.RequestContext); ok && c.RequestID != "" {
		r.about = c
	}
	return r
}

// message returns the entry's text with its fields, which follow in order.
func (r *record) message() string {
	var out strings.Builder
	out.WriteString(r.text(r.entry.Message))
	for _, name := range r.fields() {
		if name != logrus.ErrorKey || !r.summarized {
			fmt.Fprintf(&out, " %s=%s", name, quoted(r.text(fmt.Sprint(r.entry.Data[name]))))
		}
	}
	return out.String()
}

// fields returns the names of the fields without their own place.
func (r *record) fields() []string {
	names := make([]string, 0, len(r.entry.Data))
	for name := range r.entry.Data {
		if name != fieldLogger && name != fieldContext {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// summary returns the error of a warning or a more severe entry.
func (r *record) summary() string {
	if err, ok := r.entry.Data[logrus.ErrorKey]; ok && levelNumber(r.entry.Level) >= levelNumbers["WARNING"] {
		return r.text(fmt.Sprint(err))
	}
	return ""
}

func (r *record) identity() map[string]string {
	if r.about == nil {
		return nil
	}
	c := r.about
	identity := map[string]string{
		"request_id": c.RequestID, "global_request_id": c.GlobalRequestID,
		"user": c.UserID, "user_id": c.UserID, "user_name": c.Text("user_name"),
		"project": c.ProjectID, "project_id": c.ProjectID, "tenant": c.ProjectID, "project_name": c.ProjectName,
		"domain": c.Text("domain"), "domain_name": c.Text("domain_name"), "system_scope": c.Text("system_scope"),
		"user_domain": c.Text("user_domain"), "user_domain_name": c.Text("user_domain_name"),
		"project_domain": c.Text("project_domain"), "project_domain_name": c.Text("project_domain_name"),
		"resource_uuid": c.Text("resource_uuid"),
	}
	for name, text := range identity {
		identity[name] = r.text(text)
	}
	return identity
}

// function returns the name of the function that logged and its package's file.
func (r *record) function() (name, file string, line int) {
	if r.entry.Caller == nil {
		return "", "", 0
	}
	name = r.entry.Caller.Function
	return name[strings.LastIndexByte(name, '.')+1:], r.entry.Caller.File, r.entry.Caller.Line
}

var processID = os.Getpid()

var started = time.Now()

// colors are the colors of oslo.log's ColorHandler.
var colors = map[string]string{
	"TRACE": "\x1b[00;35m", "DEBUG": "\x1b[00;32m", "INFO": "\x1b[00;36m", "WARNING": "\x1b[01;33m", "ERROR": "\x1b[01;31m", "CRITICAL": "\x1b[01;31m",
}

const resetColor = "\x1b[00m"

// attributes are what a format can name in addition to the identity of a request.
// Numeric ones can be shown by %d and %f.
// python: logging, LogRecord attributes; oslo.log: formatters.py ContextFormatter
var attributes = map[string]func(r *record, dates string) any{
	"asctime":         func(r *record, dates string) any { return strftime.Format(dates, r.time) },
	"msecs":           func(r *record, _ string) any { return float64(r.time.Nanosecond()) / 1e6 },
	"created":         func(r *record, _ string) any { return float64(r.time.UnixNano()) / 1e9 },
	"relativeCreated": func(r *record, _ string) any { return float64(r.time.Sub(started)) / 1e6 },
	"isotime":         func(r *record, _ string) any { return r.time.Format("2006-01-02T15:04:05.000000-07:00") },
	"process":         func(*record, string) any { return processID },
	"thread":          func(*record, string) any { return processID },
	"processName":     func(*record, string) any { return "MainProcess" },
	"threadName":      func(*record, string) any { return "MainThread" },
	"levelname":       func(r *record, _ string) any { return levelName(r.entry.Level) },
	"levelno":         func(r *record, _ string) any { return levelNumber(r.entry.Level) },
	"name":            func(r *record, _ string) any { return r.text(r.logger) },
	"message":         func(r *record, _ string) any { return r.message() },
	"error_summary":   func(r *record, _ string) any { return orDash(r.summary()) },
	"instance":        func(*record, string) any { return "" },
	"resource":        func(*record, string) any { return "" },
	"funcName":        func(r *record, _ string) any { name, _, _ := r.function(); return name },
	"pathname":        func(r *record, _ string) any { _, file, _ := r.function(); return file },
	"filename":        func(r *record, _ string) any { _, file, _ := r.function(); return path.Base(file) },
	"module": func(r *record, _ string) any {
		_, file, _ := r.function()
		return strings.TrimSuffix(path.Base(file), ".go")
	},
	"lineno": func(r *record, _ string) any { _, _, line := r.function(); return line },
	"color": func(r *record, _ string) any {
		if !r.color {
			return ""
		}
		return colors[levelName(r.entry.Level)]
	},
	"reset_color": func(r *record, _ string) any {
		if !r.color {
			return ""
		}
		return resetColor
	},
}

// isColor reports whether the attribute is a control sequence of a terminal.
func isColor(name string) bool { return name == "color" || name == "reset_color" }

// ofRequest are the attributes of lines about a request; see record.identity.
var ofRequest = []string{
	"request_id", "global_request_id", "user_identity", "user", "user_id", "user_name", "project", "project_id", "tenant", "project_name",
	"domain", "domain_name", "system_scope", "user_domain", "user_domain_name", "project_domain", "project_domain_name", "resource_uuid",
}

// ofCaller are the attributes that say which line of code logged the entry.
var ofCaller = []string{"funcName", "pathname", "filename", "module", "lineno"}

// pattern is a format string of Python's logging: texts and attributes in turn.
type pattern []piece

type piece struct {
	text string // as it is, when there is no name
	name string
	verb string // of package fmt
}

// reference matches what Python's % operator accepts with a dict; a match without a
// group is a mistake.
var reference = regexp.MustCompile(`%(?:\((\w+)\)([-#0 +]*\d*(?:\.\d+)?)([sdiufFeEgGxXor])|%|.?)`)

// parse reads a format string. known reports whether there is an attribute.
func parse(format string, known func(name string) bool) (pattern, error) {
	var p pattern
	rest := 0
	add := func(text string) {
		if text != "" {
			p = append(p, piece{text: text})
		}
	}
	for _, at := range reference.FindAllStringSubmatchIndex(format, -1) {
		whole := format[at[0]:at[1]]
		add(format[rest:at[0]])
		rest = at[1]
		switch {
		case whole == "%%":
			add("%")
		case at[2] < 0:
			return nil, fmt.Errorf("%q is not of the form %%(name)s", whole)
		default:
			name, flags, verb := format[at[2]:at[3]], format[at[4]:at[5]], format[at[6]:at[7]]
			if !known(name) {
				return nil, fmt.Errorf("there is no %%(%s)s", name)
			}
			switch verb {
			case "r":
				verb = "s"
			case "i", "u":
				verb = "d"
			}
			p = append(p, piece{name: name, verb: "%" + flags + verb})
		}
	}
	add(format[rest:])
	return p, nil
}

// write appends the pattern, filled with values.
func (p pattern) write(out *strings.Builder, value func(name string) any) {
	for _, piece := range p {
		if piece.name == "" {
			out.WriteString(piece.text)
			continue
		}
		v := value(piece.name)
		switch verb := piece.verb[len(piece.verb)-1]; number := v.(type) {
		case float64:
			switch verb {
			case 'd', 'x', 'X', 'o':
				v = int64(number)
			case 's':
				v = fmt.Sprint(number)
			}
		case int:
			switch verb {
			case 's':
				v = fmt.Sprint(number)
			case 'f', 'F', 'e', 'E', 'g', 'G':
				v = float64(number)
			}
		default:
			if verb != 's' { // a text is shown as one
				out.WriteString(fmt.Sprint(v))
				continue
			}
		}
		fmt.Fprintf(out, piece.verb, v)
	}
}

// names reports whether the pattern shows one of the attributes.
func (p pattern) names(attributes ...string) bool {
	return slices.ContainsFunc(p, func(piece piece) bool { return slices.Contains(attributes, piece.name) })
}

// lineFormat writes lines as oslo.log does:
//
//	2026-11-22 15:47:20.975 4711 INFO karbor.manager [None req-1 user project - - - -] text key=value
type lineFormat struct {
	dates                          string // strftime
	about, plain, suffix, identity pattern
}

// newLineFormat parses the formats of a configuration. A format that cannot be parsed
// is replaced by the default, with a warning.
func newLineFormat(c LogConfig) (*lineFormat, []string) {
	f := &lineFormat{dates: c.DateFormat}
	if f.dates == "" {
		f.dates = defaultDateFormat
	}
	var warnings []string
	read := func(into *pattern, option, format, standard string, known func(string) bool) {
		p, err := parse(format, known)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("option %s: %v; the default is used", option, err))
		}
		if err != nil || format == "" {
			p, _ = parse(standard, known) // it is right
		}
		*into = p
	}
	known := func(name string) bool { return attributes[name] != nil || slices.Contains(ofRequest, name) }
	read(&f.about, "logging_context_format_string", c.ContextFormat, defaultContextFormat, known)
	read(&f.plain, "logging_default_format_string", c.PlainFormat, defaultPlainFormat, known)
	read(&f.identity, "logging_user_identity_format", c.IdentityFormat, defaultIdentityFormat, func(string) bool { return true })
	read(&f.suffix, "logging_debug_format_suffix", c.DebugSuffix, "", known)
	return f, warnings
}

func (f *lineFormat) uses(attributes ...string) bool {
	return f.about.names(attributes...) || f.plain.names(attributes...)
}

func (f *lineFormat) line(r *record) string {
	line := short(r, func() string { return f.write(r) })
	return printable.Cut(line, longestLine) // the format may have long texts of its own
}

func (f *lineFormat) write(r *record) string {
	p := f.plain
	if r.about != nil {
		p = f.about
	}
	r.summarized = p.names("error_summary")
	identity := r.identity()
	value := func(name string) any {
		if name == "user_identity" {
			return printable.Line(f.user(r, identity))
		}
		if text, ok := identity[name]; ok {
			return printable.Line(orNone(text))
		}
		attribute := attributes[name]
		if attribute == nil {
			return ""
		}
		v := attribute(r, f.dates)
		if text, ok := v.(string); ok && !isColor(name) {
			return printable.Line(text)
		}
		return v
	}
	var out strings.Builder
	p.write(&out, value)
	if r.entry.Level == logrus.DebugLevel && len(f.suffix) > 0 {
		out.WriteByte(' ')
		f.suffix.write(&out, value)
	}
	return out.String()
}

// user returns the %(user_identity)s of a line.
func (f *lineFormat) user(r *record, identity map[string]string) string {
	if r.about == nil {
		return ""
	}
	var out strings.Builder
	f.identity.write(&out, func(name string) any { return orDash(identity[name]) })
	return out.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// orNone returns "None" for an absent text, as Python does.
func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

// quoted quotes a text if a reader could not see where it ends.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " =\"") {
		return strconv.QuoteToGraphic(s)
	}
	return s
}

// jsonFormat writes the objects of oslo.log's JSONFormatter.
type jsonFormat struct {
	dates string
	host  string
}

func newJSONFormat(dates string) *jsonFormat {
	if dates == "" {
		dates = defaultDateFormat
	}
	host, _ := os.Hostname() // without one the member is empty
	return &jsonFormat{dates: dates, host: host}
}

func (*jsonFormat) uses(attributes ...string) bool { return slices.Contains(attributes, "lineno") }

func (f *jsonFormat) line(r *record) string { return short(r, func() string { return f.write(r) }) }

func (f *jsonFormat) write(r *record) string {
	message := r.text(r.entry.Message)
	object := map[string]any{"msg": message, "message": message, "args": nil, "traceback": nil, "hostname": f.host,
		"error_summary": r.summary()}
	for _, name := range []string{"asctime", "name", "levelname", "levelno", "pathname", "filename", "module", "lineno", "created", "msecs",
		"process", "thread"} {
		object[name] = attributes[name](r, f.dates)
	}
	for member, name := range map[string]string{"funcname": "funcName", "relative_created": "relativeCreated", "thread_name": "threadName",
		"process_name": "processName"} {
		object[member] = attributes[name](r, f.dates)
	}
	identity := map[string]any{}
	for name, text := range r.identity() {
		if identity[name] = text; text == "" {
			identity[name] = nil
		}
	}
	extra := map[string]any{}
	for _, name := range r.fields() {
		switch value := r.entry.Data[name].(type) {
		case bool, int, int64, float64:
			extra[name] = value
		default:
			extra[name] = r.text(fmt.Sprint(value))
		}
	}
	object["context"], object["extra"] = identity, extra
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return printable.Line(fmt.Sprintf("%s: %v", message, err))
	}
	return string(printable.JSON(bytes.TrimSuffix(out.Bytes(), []byte("\n"))))
}

// WithRequest adds the identity of a request to the entries of log.
func WithRequest(log logrus.FieldLogger, c *requestcontext.RequestContext) logrus.FieldLogger {
	return OrDiscard(log).WithField(fieldContext, c)
}

// Named returns a log with the name of a part of the service. A nil log discards
// everything.
func Named(log logrus.FieldLogger, name string) logrus.FieldLogger {
	return OrDiscard(log).WithField(fieldLogger, rootLogger+"."+name)
}

// OrDiscard returns log, or a log that discards everything if log is nil.
func OrDiscard(log logrus.FieldLogger) logrus.FieldLogger {
	if log != nil {
		return log
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	return silent
}
