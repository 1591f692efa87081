// SPDX-License-Identifier: Apache-2.0

// Package telemetry makes the service observable: its log, in the line format
// of oslo.log or as JSON.
package telemetry

import (
	"path/filepath"

	"github.com/karbor-project/karbor/pkg/config"
)

// Options are the options of logging, named as in oslo.log.
var Options = []config.Option{
	{Name: "debug", Short: "d", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log at level DEBUG instead of INFO."},
	{Name: "log_file", Kind: config.String, CLI: true, Deprecated: []config.Name{{Group: "DEFAULT", Name: "logfile"}},
		Help: "The file to log to, relative to log_dir. Without it the log goes to standard error. SIGHUP reopens the file."},
	{Name: "log_dir", Kind: config.String, CLI: true, Deprecated: []config.Name{{Group: "DEFAULT", Name: "logdir"}},
		Help: "The folder of log_file. With a folder and no file, the file is named after the program."},
	{Name: "log_date_format", Kind: config.String, Default: "%Y-%m-%d %H:%M:%S", CLI: true,
		Help: "The date of a log line, in strftime's notation: %Y %m %d %H %M %S %y %b %z and literal text. Milliseconds follow it."},
	{Name: "watch_log_file", Kind: config.Bool, Default: false, CLI: true,
		Help: "Reopen the log file when it was moved or removed, as logrotate does."},
	{Name: "use_stderr", Kind: config.Bool, Default: false,
		Help: "Log to standard error beside the log file."},
	{Name: "use_syslog", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log to syslog as well."},
	{Name: "syslog_log_facility", Kind: config.String, Default: "LOG_USER", CLI: true,
		Help: "The facility of syslog: LOG_USER, LOG_DAEMON, LOG_LOCAL0 to LOG_LOCAL7."},
	{Name: "use_journal", Kind: config.Bool, Default: false, CLI: true,
		Help: "Begin each line on standard error with the level's number in angle brackets, from which systemd's journal takes its priority."},
	{Name: "use_json", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log one JSON object a line."},
}

// LogConfig says where and how to log.
type LogConfig struct {
	Program    string
	Debug      bool
	JSON       bool
	DateFormat string
	// File is the path of the log file, empty for standard error alone.
	File      string
	WatchFile bool
	Stderr    bool
	Journal   bool
	Syslog    bool
	Facility  string
}

// LogConfigFrom reads the options of logging.
func LogConfigFrom(cfg *config.Config, program string) LogConfig {
	file, dir := cfg.String("DEFAULT", "log_file"), cfg.String("DEFAULT", "log_dir")
	switch {
	case file == "" && dir != "":
		file = filepath.Join(dir, program+".log")
	case file != "" && dir != "" && !filepath.IsAbs(file):
		file = filepath.Join(dir, file)
	}
	return LogConfig{
		Program:    program,
		Debug:      cfg.Bool("DEFAULT", "debug"),
		JSON:       cfg.Bool("DEFAULT", "use_json"),
		DateFormat: cfg.String("DEFAULT", "log_date_format"),
		File:       file,
		WatchFile:  cfg.Bool("DEFAULT", "watch_log_file"),
		Stderr:     cfg.Bool("DEFAULT", "use_stderr"),
		Journal:    cfg.Bool("DEFAULT", "use_journal"),
		Syslog:     cfg.Bool("DEFAULT", "use_syslog"),
		Facility:   cfg.String("DEFAULT", "syslog_log_facility"),
	}
}
