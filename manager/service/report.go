// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
)

const reportsGroup = "oslo_reports"

// reportOptions are the options about the destination of a report. oslo.reports: opts.py
func reportOptions() []config.Option {
	return []config.Option{{Group: reportsGroup, Name: "log_dir", Kind: config.String, Default: "",
		Help: "The folder for reports, a file each, which SIGUSR2 asks for. Empty: they go to the log."}}
}

// report writes the state of the process on SIGUSR2, to a file in [oslo_reports] log_dir or to the
// log. It contains no passwords or tokens.
func (d *daemon) report(at time.Time) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "version %s, process %d, %s\n", d.version, os.Getpid(), at.UTC().Format(time.RFC3339))
	dir := ""
	for _, a := range []*attempt{d.current, d.next} {
		if a == nil {
			continue
		}
		if starting := a.starting.Load(); starting != nil {
			(*starting).report(&text)
		}
		if a.serves() {
			dir = a.cfg.String(reportsGroup, "log_dir")
		}
	}
	text.WriteString("\ngoroutines\n")
	_ = pprof.Lookup("goroutine").WriteTo(&text, 1) // writes to memory never fail
	if dir != "" {
		path := filepath.Join(dir, Program+"_gurumeditation_"+at.UTC().Format("20060102150405"))
		err := os.WriteFile(path, text.Bytes(), 0o600)
		if err == nil {
			d.log.Infof("SIGUSR2: a report is in %s", path)
			return
		}
		d.log.Errorf("SIGUSR2: the report goes to the log: %v", err)
	}
	for line := range strings.Lines(text.String()) {
		d.log.Info("report: " + strings.TrimRight(line, "\n"))
	}
}
