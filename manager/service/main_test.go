// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "karbor.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with the command line or the configuration is told at once, and
// by name.
func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args func(t *testing.T) []string
		want []string
	}{
		{"unknown flag", func(*testing.T) []string { return []string{"--nope"} }, []string{"nope"}},
		{"no file", func(*testing.T) []string { return []string{"--config-file", "/no/such.conf"} }, []string{"/no/such.conf"}},
		{"no ini file", func(t *testing.T) []string {
			return []string{"--config-file", writeFile(t, "[DEFAULT]\nwhat is this\n")}
		}, []string{"karbor.conf:2"}},
		{"wrong values", func(t *testing.T) []string {
			return []string{"--config-file", writeFile(t, "[DEFAULT]\nreport_interval = often\n[glance_client]\nglance_auth_insecure = t\n")}
		}, []string{"karbor.conf:2", "report_interval", "karbor.conf:4", "glance_auth_insecure"}},
		{"no providers", func(t *testing.T) []string {
			return []string{"--config-file", writeFile(t, "[DEFAULT]\nprovider_config_dir = /no/such.d\nlog_file = /dev/null\nstate_path = "+t.TempDir())}
		}, []string{"Could not find config at /no/such.d"}},
		{"wrong transport", func(t *testing.T) []string {
			dir := t.TempDir()
			return []string{"--config-file", writeFile(t, "[DEFAULT]\ntransport_url = amqp://u:s3cret@h/\nlog_file = /dev/null\nprovider_config_dir = "+dir+"\nstate_path = "+dir)}
		}, []string{"transport_url", "amqp"}},
		{"wrong option of the broker", func(t *testing.T) []string {
			dir := t.TempDir()
			return []string{"--config-file", writeFile(t, "[DEFAULT]\ntransport_url = rabbit://h/?nope=1\nlog_file = /dev/null\nprovider_config_dir = "+dir+"\nstate_path = "+dir)}
		}, []string{"transport_url", "nope"}},
		{"wrong database", func(t *testing.T) []string {
			return []string{"--config-file", writeFile(t, "[DEFAULT]\nlog_file = /dev/null\n[database]\nconnection = oracle://u:s3cret@h/\n")}
		}, []string{"connection", "database"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, err bytes.Buffer
			if code := Main("1.0", c.args(t), Builtin(), &out, &err); code != ExitUsage {
				t.Errorf("exit code %d, want %d", code, ExitUsage)
			}
			for _, want := range c.want {
				if !strings.Contains(err.String(), want) {
					t.Errorf("standard error does not name %q:\n%s", want, err.String())
				}
			}
			if strings.Contains(err.String(), "s3cret") {
				t.Errorf("standard error shows a password:\n%s", err.String())
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	if code := Main("1.2.3", []string{"--version"}, Builtin(), &out, &err); code != ExitOK || out.String() != "1.2.3\n" {
		t.Errorf("--version: exit code %d, output %q", code, out.String())
	}
	out.Reset()
	if code := Main("1.2.3", []string{"--help"}, Builtin(), &out, &err); code != ExitOK || !strings.Contains(out.String(), "--db-sync") {
		t.Errorf("--help: exit code %d, output %q", code, out.String())
	}
}

func TestDBSync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out, err bytes.Buffer
	file := writeFile(t, "[DEFAULT]\nstate_path = "+dir+"/new\n")
	for range 2 { // the second time there is nothing to make
		if code := Main("1", []string{"--config-file", file, "--db-sync"}, Builtin(), &out, &err); code != ExitOK {
			t.Fatalf("exit code %d: %s", code, err.String())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new", "karbor.sqlite")); err != nil {
		t.Error(err)
	}
}

// The options of the main file have one owner each.
func TestOptionsAreDeclaredOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, o := range Options() {
		name := strings.ToLower(o.Group) + "." + o.Name
		if seen[name] {
			t.Errorf("option %s is declared twice", name)
		}
		seen[name] = true
		if o.Help == "" {
			t.Errorf("option %s has no help", name)
		}
	}
}

// The files in the repository are what the option tables make.
func TestGeneratedFilesAreFresh(t *testing.T) {
	t.Parallel()
	var reference bytes.Buffer
	if err := WriteReference(&reference); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"../../docs/configuration.md": reference.String(), "../../etc/karbor.conf.sample": sample(t)} {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != want {
			t.Errorf("%s is not what the option tables make (make config-sample):\n%s", path, cmp.Diff(want, string(have)))
		}
	}
}

func sample(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if err := config.WriteSample(&out, Options()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// An option of oslo.log that has no effect is named with its place, and one that is
// honoured is not.
func TestOptionsWithoutEffectAreNamed(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "[DEFAULT]\nlog_config_append = /etc/karbor/logging.conf\nlogging_exception_prefix = E\ninstance_format = i\n"+
		"instance_uuid_format = u\npublish_errors = true\nuse_eventlog = true\nfatal_deprecations = true\n"+
		"default_log_levels = amqp=WARN,karbor=INFO\nlog_rotation_type = Size\nrate_limit_burst = 0\n")
	cfg, err := loadConfig([]string{"--config-file", file})
	if err != nil {
		t.Fatal(err)
	}
	warnings := telemetry.LogConfigFrom(cfg, Program).Warnings
	for i, option := range []string{"log_config_append", "logging_exception_prefix", "instance_format", "instance_uuid_format", "publish_errors",
		"use_eventlog", "fatal_deprecations"} {
		if !strings.Contains(strings.Join(warnings, "\n"), fmt.Sprintf("karbor.conf:%d: option %s has no effect", i+2, option)) {
			t.Errorf("%s is not named: %q", option, warnings)
		}
	}
	if len(warnings) != 7 {
		t.Errorf("%d warnings: %q", len(warnings), warnings)
	}
}

// What others see of a node begins when it serves: an instance that never does
// announces no service and looks after no bank.
func TestAnInstanceThatNeverServesLeavesNoTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := writeFile(t, "[DEFAULT]\ntransport_url = rabbit://127.0.0.1:1/\nprovider_config_dir = "+dir+"\nstate_path = "+dir+"\n")
	cfg, err := loadConfig([]string{"--config-file", file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := quietLog(t)
	log.AddHook(whenLogged{"broker is not reachable", cancel})
	i, err := newInstance(ctx, cfg, Builtin(), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.start(ctx); err == nil {
		t.Error("it serves without a broker")
	}
	if i.heartbeat.cancel != nil {
		t.Error("it announces a service")
	}
	i.stop(t.Context())
}

// whenLogged is a hook that does something when a text is logged.
type whenLogged struct {
	text string
	do   func()
}

func (whenLogged) Levels() []logrus.Level { return logrus.AllLevels }

func (h whenLogged) Fire(e *logrus.Entry) error {
	if strings.Contains(e.Message, h.text) {
		h.do()
	}
	return nil
}
