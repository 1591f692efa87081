// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// newLog logs to a file, and returns a function that reads it.
func newLog(t *testing.T, c LogConfig) (*Log, func() string) {
	t.Helper()
	c.File = filepath.Join(t.TempDir(), "karbor.log")
	log, err := NewLog(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log, func() string {
		t.Helper()
		text, err := os.ReadFile(c.File)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// messageOnly makes lines short.
func messageOnly(c LogConfig) LogConfig {
	c.PlainFormat, c.ContextFormat = "%(message)s", "%(message)s"
	return c
}

func TestFieldsFollowTheText(t *testing.T) {
	t.Parallel()
	log, text := newLog(t, messageOnly(LogConfig{}))
	log.WithField("b", "x y").WithField("a", 1).WithError(errors.New("no")).Warn("hello")
	WithRequest(Named(log, "manager"), &requestcontext.RequestContext{RequestID: "req-1"}).Info("about a request")
	if want := "hello a=1 b=\"x y\" error=no\nabout a request\n"; text() != want {
		t.Errorf("got %q, want %q", text(), want)
	}
}

func TestATextCannotFakeALine(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		log, text := newLog(t, LogConfig{JSON: asJSON})
		log.WithField("name", "a\n2026 CRITICAL").WithError(errors.New("c\nd")).Warn("x\ny")
		if n := strings.Count(text(), "\n"); n != 1 {
			t.Errorf("%d lines: %q", n, text())
		}
	}
}

func TestErrorSummary(t *testing.T) {
	t.Parallel()
	log, text := newLog(t, LogConfig{PlainFormat: "%(message)s: %(error_summary)s"})
	log.WithError(errors.New("disk full")).WithField("a", 1).Error("writing")
	log.Warn("odd")
	log.WithError(errors.New("minor")).Info("going on")
	if want := "writing a=1: disk full\nodd: -\ngoing on: -\n"; text() != want {
		t.Errorf("got %q, want %q", text(), want)
	}
}

// A line tells where it comes from when a format asks for that, and at level DEBUG.
func TestCaller(t *testing.T) {
	t.Parallel()
	log, text := newLog(t, LogConfig{Debug: true, DebugSuffix: defaultDebugSuffix, PlainFormat: "%(module)s %(filename)s %(message)s"})
	log.Info("one")
	Named(log, "x").Debug("two")
	lines := strings.Split(text(), "\n")
	if lines[0] != "log_test log_test.go one" {
		t.Errorf("got %q", lines[0])
	}
	for _, want := range []string{"log_test log_test.go two TestCaller ", "log_test.go:"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("%q is not in %q", want, lines[1])
		}
	}
}

// A format that cannot be read is no reason not to start: the default is used,
// with a warning.
func TestWrongFormats(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"%(nothing)s", "%d", "%(message)", "%(message)y", "100%"} {
		for option, c := range map[string]LogConfig{
			"logging_default_format_string": {PlainFormat: format},
			"logging_context_format_string": {ContextFormat: format},
			"logging_debug_format_suffix":   {DebugSuffix: format},
		} {
			log, text := newLog(t, c)
			log.Info("hello")
			if !strings.Contains(text(), option) || !strings.Contains(text(), "INFO karbor [-] hello") {
				t.Errorf("%s = %s: %q", option, format, text())
			}
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		pairs []string
		debug bool
		want  string // of karbor, karbor.rpc, karbor.rpc.deep, karbor.janitor: the lowest level that is shown
	}{
		{"none", nil, false, "INFO INFO INFO INFO"},
		{"debug", nil, true, "DEBUG DEBUG DEBUG DEBUG"},
		{"one logger", []string{"karbor.rpc=DEBUG"}, false, "INFO DEBUG DEBUG INFO"},
		{"quieter", []string{"karbor.rpc=ERROR", "karbor.rpc.deep=WARN"}, true, "DEBUG ERROR WARNING DEBUG"},
		{"the root", []string{"karbor=WARNING", "karbor.janitor=INFO"}, false, "WARNING WARNING WARNING INFO"},
		{"the original's name", []string{"karbor.services.protection=DEBUG"}, false, "DEBUG DEBUG DEBUG DEBUG"},
		{"a number", []string{"karbor.janitor=40"}, false, "INFO INFO INFO ERROR"},
		{"not set", []string{"karbor.janitor=NOTSET"}, false, "INFO INFO INFO INFO"},
		{"of libraries", []string{"amqp=WARN", "sqlalchemy=WARN"}, false, "INFO INFO INFO INFO"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log, text := newLog(t, LogConfig{Debug: c.debug, Levels: c.pairs, PlainFormat: "%(name)s %(levelname)s", DebugSuffix: ""})
			var got []string
			for _, name := range []string{"", "rpc", "rpc.deep", "janitor"} {
				var logger logrus.FieldLogger = log
				if name != "" {
					logger = Named(log, name)
				}
				before := len(text())
				logger.Debug("")
				logger.Info("")
				logger.Warn("")
				logger.Error("")
				_, level, _ := strings.Cut(strings.Split(text()[before:], "\n")[0], " ")
				got = append(got, level)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestWrongLevels(t *testing.T) {
	t.Parallel()
	for _, pair := range []string{"karbor", "karbor=LOUD", "karbor=", "=", "karbor.rpc=debug"} {
		if _, err := NewLog(LogConfig{Levels: []string{pair}}); err == nil || !strings.Contains(err.Error(), "default_log_levels") {
			t.Errorf("%s: %v", pair, err)
		}
	}
	_, text := newLog(t, LogConfig{Levels: []string{"nova=INFO", "amqp=WARN", "karbor.services.operationengine=DEBUG"}})
	if !strings.Contains(text(), "no loggers named nova, karbor.services.operationengine;") {
		t.Errorf("got %q", text())
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, text := newLog(t, messageOnly(LogConfig{RateInterval: 10, RateBurst: 2, RateExcept: "ERROR"}))
		for range 2 {
			for range 5 {
				log.Info("i")
			}
			log.Error("e")
			time.Sleep(11 * time.Second)
		}
		want := strings.Repeat("i\ni\nrate_limit_burst: 2 lines in less than 10s are logged, no more until then\ne\n", 2)
		if text() != want {
			t.Errorf("got %q, want %q", text(), want)
		}
	})
	if _, err := NewLog(LogConfig{RateExcept: "LOUD"}); err == nil || !strings.Contains(err.Error(), "rate_limit_except_level") {
		t.Errorf("a level that there is not: %v", err)
	}
}

// The objects have the members of oslo.log's.
func TestJSON(t *testing.T) {
	t.Parallel()
	log, text := newLog(t, LogConfig{JSON: true})
	about := &requestcontext.RequestContext{RequestID: "req-1", UserID: "u"}
	WithRequest(Named(log, "manager"), about).WithField("checkpoint", "c").WithError(errors.New("<no>")).Warn("x")
	var line map[string]any
	if err := json.Unmarshal([]byte(text()), &line); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"message", "asctime", "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module",
		"lineno", "funcname", "created", "msecs", "relative_created", "thread", "thread_name", "process_name", "process", "traceback",
		"hostname", "error_summary", "context", "extra"} {
		if _, there := line[member]; !there {
			t.Errorf("no member %s", member)
		}
	}
	context, _ := line["context"].(map[string]any)
	extra, _ := line["extra"].(map[string]any)
	if line["message"] != "x" || line["levelname"] != "WARNING" || line["levelno"] != 30.0 || line["name"] != "karbor.manager" ||
		line["error_summary"] != "<no>" || line["funcname"] != "TestJSON" || extra["checkpoint"] != "c" || context["request_id"] != "req-1" ||
		context["user"] != "u" || context["project"] != nil {
		t.Errorf("got %v", line)
	}
}

func TestColorIsForTerminals(t *testing.T) {
	t.Parallel()
	f, _ := newLineFormat(LogConfig{PlainFormat: "%(color)s%(levelname)s%(reset_color)s"})
	for color, want := range map[bool]string{false: "ERROR", true: "\x1b[01;31mERROR\x1b[00m"} {
		r := newRecord(&logrus.Entry{Level: logrus.ErrorLevel}, time.UTC)
		r.color = color
		if got := f.line(r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
