// SPDX-License-Identifier: Apache-2.0

// Package telemetry makes the service observable: its log, in the line format
// of oslo.log or as JSON.
package telemetry

import (
	"fmt"
	"path/filepath"

	"github.com/karbor-project/karbor/pkg/config"
)

// The default formats of a line.
// oslo.log: _options.py
const (
	defaultDateFormat     = "%Y-%m-%d %H:%M:%S"
	defaultContextFormat  = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(global_request_id)s %(request_id)s %(user_identity)s] %(instance)s%(message)s"
	defaultPlainFormat    = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [-] %(instance)s%(message)s"
	defaultDebugSuffix    = "%(funcName)s %(pathname)s:%(lineno)d"
	defaultIdentityFormat = "%(user)s %(project)s %(domain)s %(system_scope)s %(user_domain)s %(project_domain)s"
)

// Options are the options of logging, named as in oslo.log.
var Options = []config.Option{
	{Name: "debug", Short: "d", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log at level DEBUG instead of INFO."},
	{Name: "log_file", Kind: config.String, CLI: true, Deprecated: []config.Name{{Group: "DEFAULT", Name: "logfile"}},
		Help: "The file to log to, relative to log_dir. Without it the log goes to standard error. A file that was moved or removed is opened anew, and at SIGHUP."},
	{Name: "log_dir", Kind: config.String, CLI: true, Deprecated: []config.Name{{Group: "DEFAULT", Name: "logdir"}},
		Help: "The folder of log_file. With a folder and no file, the file is named after the program."},
	{Name: "log_date_format", Kind: config.String, Default: defaultDateFormat, CLI: true,
		Help: "The date of a log line, %(asctime)s, in strftime's notation. The time zone is that of TZ or of the machine; POSIX rules such as CET-1CEST,M3.5.0,M10.5.0/3 are understood."},
	{Name: "watch_log_file", Kind: config.Bool, Default: false, CLI: true,
		Help: "Never rotate the log file, whatever log_rotation_type says: somebody else does. A file that is not rotated is always watched."},
	{Name: "use_stderr", Kind: config.Bool, Default: false,
		Help: "Log to standard error beside the log file."},
	{Name: "use_syslog", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log to syslog as well. What syslog does not take is not logged there; the service goes on."},
	{Name: "syslog_log_facility", Kind: config.String, Default: "LOG_USER", CLI: true,
		Help: "The facility of syslog, such as LOG_USER, LOG_DAEMON or LOG_LOCAL0."},
	{Name: "use_journal", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log to standard error, beside the log file if there is one, and begin each line there with the level's number in angle brackets, from which systemd's journal takes its priority."},
	{Name: "use_json", Kind: config.Bool, Default: false, CLI: true,
		Help: "Log one JSON object a line, with the members that oslo.log writes."},
	{Name: "log_rotation_type", Kind: config.String, Default: "none",
		Help: "How the service rotates its log file: none, size (at max_logfile_size_mb), or interval (each log_rotate_interval)."},
	{Name: "log_rotate_interval", Kind: config.Int, Default: 1,
		Help: "After how many of log_rotate_interval_type the log file is rotated. With Weekday it is the day, 0 for Monday."},
	{Name: "log_rotate_interval_type", Kind: config.String, Default: "days",
		Help: "Seconds, Minutes, Hours, Days, Weekday or Midnight. The rotated file has the date of its beginning in its name."},
	{Name: "max_logfile_count", Kind: config.Int, Default: 30, Min: config.Bound(0),
		Help: "How many rotated log files are kept. With log_rotation_type = interval, 0 keeps all; with size, 0 rotates nothing."},
	{Name: "max_logfile_size_mb", Kind: config.Int, Default: 200, Min: config.Bound(0),
		Help: "The size in MiB at which log_rotation_type = size rotates. 0 is no limit."},
	{Name: "logging_context_format_string", Kind: config.String, Default: defaultContextFormat,
		Help: "A line about a request, in the notation of Python's logging. %(message)s has the entry's fields too."},
	{Name: "logging_default_format_string", Kind: config.String, Default: defaultPlainFormat,
		Help: "A line that is not about a request."},
	{Name: "logging_debug_format_suffix", Kind: config.String, Default: defaultDebugSuffix,
		Help: "What follows a line of level DEBUG."},
	{Name: "logging_user_identity_format", Kind: config.String, Default: defaultIdentityFormat,
		Help: "%(user_identity)s of a line about a request."},
	{Name: "default_log_levels", Kind: config.List, Default: []string{},
		Help: "Pairs logger=LEVEL. This program's loggers begin with karbor: karbor.rpc, karbor.database, karbor.openstack, karbor.janitor and others, as lines show them. Names of Python's libraries have no effect."},
	{Name: "rate_limit_interval", Kind: config.Int, Default: 0,
		Help: "Seconds in which at most rate_limit_burst lines are logged. 0 is no limit."},
	{Name: "rate_limit_burst", Kind: config.Int, Default: 0,
		Help: "See rate_limit_interval. 0 is no limit."},
	{Name: "rate_limit_except_level", Kind: config.String, Default: "CRITICAL",
		Help: "Lines of this level and of higher ones are always logged: CRITICAL, ERROR, WARNING, INFO or DEBUG. Empty limits all."},

	// Options that OpenStack's configuration files may contain and that have no effect
	// here; ignoredOptions gives the reasons.
	{Name: "log_config_append", Kind: config.String, CLI: true, Deprecated: []config.Name{{Group: "DEFAULT", Name: "log_config"}},
		Help: "Not read: a configuration of Python's logging. The other options of logging hold instead, and a warning says so."},
	{Name: "logging_exception_prefix", Kind: config.String,
		Help: "Without effect, with a warning: an error is part of its line."},
	{Name: "instance_format", Kind: config.String,
		Help: "Without effect, with a warning: no line is about an instance of Nova alone."},
	{Name: "instance_uuid_format", Kind: config.String,
		Help: "Without effect, with a warning: no line is about an instance of Nova alone."},
	{Name: "publish_errors", Kind: config.Bool, Default: false,
		Help: "Without effect, with a warning: errors are not sent as notifications."},
	{Name: "use_eventlog", Kind: config.Bool, Default: false,
		Help: "Without effect, with a warning: there is no Windows Event Log here."},
	{Name: "fatal_deprecations", Kind: config.Bool, Default: false,
		Help: "Without effect, with a warning: former names of options are logged and never fatal."},
}

// ignoredOptions maps the options without effect to the reason.
var ignoredOptions = []struct{ name, reason string }{
	{"log_config_append", "it configures Python's logging; the other options of logging hold"},
	{"logging_exception_prefix", "an error is part of its line"},
	{"instance_format", "no line is about an instance of Nova alone"},
	{"instance_uuid_format", "no line is about an instance of Nova alone"},
	{"publish_errors", "errors are not sent as notifications"},
	{"use_eventlog", "there is no Windows Event Log here"},
	{"fatal_deprecations", "former names of options are logged and never fatal"},
}

// LogConfig configures where and how to log.
type LogConfig struct {
	Program string
	Debug   bool
	JSON    bool

	// The formats of oslo.log. An empty one means the default, except that an empty
	// DebugSuffix means no suffix.
	DateFormat, ContextFormat, PlainFormat, DebugSuffix, IdentityFormat string
	// Levels are pairs "logger=LEVEL".
	Levels []string

	// RateBurst is the number of lines that may be logged in RateInterval seconds;
	// lines of level RateExcept and above are not counted.
	RateInterval, RateBurst int
	RateExcept              string

	// File is the path of the log file, empty for standard error alone.
	File     string
	Rotation Rotation
	Stderr   bool
	Journal  bool
	Syslog   bool
	Facility string

	// Warnings are logged as soon as the log is open.
	Warnings []string
}

// LogConfigFrom reads the options of logging.
func LogConfigFrom(cfg *config.Config, program string) LogConfig {
	text := func(name string) string { return cfg.String("DEFAULT", name) }
	file, dir := text("log_file"), text("log_dir")
	switch {
	case file == "" && dir != "":
		file = filepath.Join(dir, program+".log")
	case file != "" && dir != "" && !filepath.IsAbs(file):
		file = filepath.Join(dir, file)
	}
	c := LogConfig{
		Program:       program,
		Debug:         cfg.Bool("DEFAULT", "debug"),
		JSON:          cfg.Bool("DEFAULT", "use_json"),
		DateFormat:    text("log_date_format"),
		ContextFormat: text("logging_context_format_string"), PlainFormat: text("logging_default_format_string"),
		DebugSuffix: text("logging_debug_format_suffix"), IdentityFormat: text("logging_user_identity_format"),
		Levels:       cfg.List("DEFAULT", "default_log_levels"),
		RateInterval: cfg.Int("DEFAULT", "rate_limit_interval"), RateBurst: cfg.Int("DEFAULT", "rate_limit_burst"),
		RateExcept: text("rate_limit_except_level"),
		File:       file,
		Rotation: Rotation{
			Type: text("log_rotation_type"), Interval: cfg.Int("DEFAULT", "log_rotate_interval"),
			IntervalType: text("log_rotate_interval_type"),
			Count:        cfg.Int("DEFAULT", "max_logfile_count"), Size: int64(cfg.Int("DEFAULT", "max_logfile_size_mb")) << 20,
		},
		Stderr:   cfg.Bool("DEFAULT", "use_stderr"),
		Journal:  cfg.Bool("DEFAULT", "use_journal"),
		Syslog:   cfg.Bool("DEFAULT", "use_syslog"),
		Facility: text("syslog_log_facility"),
	}
	if cfg.Bool("DEFAULT", "watch_log_file") {
		c.Rotation = Rotation{}
	}
	for _, option := range ignoredOptions {
		if cfg.IsSet("DEFAULT", option.name) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: option %s has no effect: %s",
				cfg.Where("DEFAULT", option.name), option.name, option.reason))
		}
	}
	return c
}
