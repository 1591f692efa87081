// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/telemetry"
)

// A report has what an operator asks about, and no secret. It goes to the log, or into a
// file; where the file cannot be, to the log.
func TestReport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dir    string // below that of the test; "" for none
		inFile bool
	}{"log": {}, "file": {"", true}, "no folder": {"missing", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := provided(t, "transport_url = rabbit://guest:s3cret@127.0.0.1:1/\n", goodProvider)
			dir := filepath.Join(filepath.Dir(args[2]), c.dir)
			main := args[1:]
			if c.inFile {
				text, err := os.ReadFile(main[1])
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(main[1], append(text, "[oslo_reports]\nlog_dir = "+dir+"\n"...), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, err := loadConfig(main)
			if err != nil {
				t.Fatal(err)
			}
			logged := filepath.Join(t.TempDir(), "log")
			log, err := telemetry.NewLog(telemetry.LogConfig{File: logged})
			if err != nil {
				t.Fatal(err)
			}
			i, err := newInstance(t.Context(), cfg, Builtin(), log)
			if err != nil {
				t.Fatal(err)
			}
			defer i.stop(t.Context())
			d := &daemon{version: "1.2.3", log: log, current: &attempt{cfg: cfg, instance: i, noticed: true}}
			d.current.starting.Store(&d.current.instance)
			d.report(time.Unix(0, 0))
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			from := logged
			if c.inFile && c.dir == "" {
				from = filepath.Join(dir, "karbor-protection_gurumeditation_19700101000000")
			}
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"version 1.2.3", "consume: connected false", "3c4d5e6f-0000-4000-8000-000000000001 Good: up true", "operations",
				"transport_url = ****", "goroutine profile: total",
			} {
				if !strings.Contains(string(text), want) {
					t.Errorf("the report lacks %q:\n%s", want, text)
				}
			}
			if strings.Contains(string(text), "s3cret") {
				t.Error("the report shows a password")
			}
		})
	}
}
