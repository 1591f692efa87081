// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func lineLogger(out *bytes.Buffer) *logrus.Logger {
	l := logrus.New()
	l.SetOutput(out)
	l.SetFormatter(newLineFormat("%Y-%m-%d %H:%M:%S", false))
	return l
}

func TestLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 15, 47, 20, 975e6, time.UTC)
	for _, c := range []struct {
		name string
		log  func(logrus.FieldLogger) logrus.FieldLogger
		want string
	}{
		{"without a request", func(l logrus.FieldLogger) logrus.FieldLogger { return Named(l, "manager") },
			"2026-11-22 15:47:20.975 %d WARNING karbor.manager [-] hello"},
		{"with a request", func(l logrus.FieldLogger) logrus.FieldLogger {
			c := &requestcontext.RequestContext{RequestID: "req-1", UserID: "u", ProjectID: "p"}
			return WithRequest(l, c).WithField("checkpoint", "c 1")
		}, `2026-11-22 15:47:20.975 %d WARNING karbor [None req-1 u p - - -] hello checkpoint="c 1"`},
	} {
		var out bytes.Buffer
		c.log(lineLogger(&out).WithTime(at)).Warn("hello")
		if want := fmt.Sprintf(c.want+"\n", os.Getpid()); out.String() != want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, out.String(), want)
		}
	}
}

func TestATextCannotFakeALine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	lineLogger(&out).WithField("name", "a\n2026 CRITICAL").Info("x\ny")
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %q", n, out.String())
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, watch := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "karbor.log")
		log, err := NewLog(LogConfig{File: path, DateFormat: "%H", WatchFile: watch})
		if err != nil {
			t.Fatal(err)
		}
		log.Info("first")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if !watch {
			if err := log.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
		log.Info("second")
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{path + ".1": "first", path: "second"} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), want) || strings.Count(string(text), "\n") != 1 {
				t.Errorf("watch %v: %s holds %q", watch, filepath.Base(name), text)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "karbor.log")
	log, err := NewLog(LogConfig{File: path, JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	log.WithField("checkpoint", "c").Info("x")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatal(err)
	}
	if line["message"] != "x" || line["levelname"] != "info" || line["checkpoint"] != "c" {
		t.Errorf("got %v", line)
	}
}

func TestFacility(t *testing.T) {
	t.Parallel()
	if _, err := facilityOf("LOCAL0"); err != nil {
		t.Error(err)
	}
	if _, err := facilityOf("LOG_NOPE"); err == nil || !strings.Contains(err.Error(), "LOG_NOPE") {
		t.Errorf("error %v does not name the facility", err)
	}
}
