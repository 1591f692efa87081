// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/systemd"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/wait"
)

// The exit codes of the daemon.
const (
	ExitOK     = 0
	ExitFailed = 1 // the daemon could not start or continue
	ExitUsage  = 2 // invalid command line or configuration
)

// dbSync is the flag for creating missing tables and exiting.
const dbSync = "--db-sync"

// Main is the main function of a daemon: it runs until a signal ends it and returns the exit code.
func Main(version string, args []string, setup Setup, stdout, stderr io.Writer) int {
	args, t, err := tasks(args)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", Program, err)
		return ExitUsage
	}
	if t[checkFlag] {
		return runCheck(args, setup, t[onlineFlag], t[jsonFlag], stdout, stderr)
	}
	// An early request to reload waits, and an early request to stop ends the process as long as
	// nothing has begun.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	load := func() (*config.Config, error) { return loadConfig(args) }
	cfg, err := load()
	switch {
	case errors.Is(err, config.ErrHelp):
		usage(stdout)
		return ExitOK
	case errors.Is(err, config.ErrVersion):
		fmt.Fprintln(stdout, version)
		return ExitOK
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", Program, err)
		return ExitUsage
	}
	log, err := telemetry.NewLog(telemetry.LogConfigFrom(cfg, Program))
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", Program, err)
		return ExitUsage
	}
	defer log.Close()
	if t[dbSync] {
		return syncDatabase(cfg, log, stdout, stderr)
	}
	if t[repairFlag] {
		return repair(cfg, setup, log, t[dryRunFlag], t[removeOrphansFlag], stdout, stderr)
	}
	counts := newBusiness()
	if cfg.String("DEFAULT", "metrics_listen") != "" {
		setup = counts.observe(setup)
	}
	d := &daemon{version: version, load: load, log: log, notify: systemd.FromEnvironment(), hangUp: hangUp,
		make: func(ctx context.Context, cfg *config.Config) (service, error) {
			return newInstance(ctx, cfg, setup, log)
		}}
	if err := serve(d, cfg, counts); err != nil {
		log.Errorf("the service ends: %v", err)
		if !log.OnStderr() {
			fmt.Fprintf(stderr, "%s: %v\n", Program, err)
		}
		if errors.As(err, new(usageError)) {
			return ExitUsage
		}
		return ExitFailed
	}
	return ExitOK
}

// taskFlags are the flags of tasks that the program runs instead of serving, each with the flags
// that modify it.
var taskFlags = map[string][]string{
	dbSync:     nil,
	repairFlag: {dryRunFlag, removeOrphansFlag},
	checkFlag:  {onlineFlag, jsonFlag},
}

// tasks extracts the flags of one task from the arguments.
func tasks(args []string) (rest []string, given map[string]bool, err error) {
	given = map[string]bool{}
	task := ""
	for _, arg := range args {
		of := taskOf(arg)
		switch {
		case of == "":
			rest = append(rest, arg)
			continue
		case task != "" && task != of:
			return nil, nil, fmt.Errorf("%s and %s do not go together", task, arg)
		}
		task, given[arg] = of, true
	}
	if task != "" && !given[task] {
		return nil, nil, fmt.Errorf("%s go with %s alone", strings.Join(taskFlags[task], " and "), task)
	}
	return rest, given, nil
}

// taskOf returns the task that a flag selects or modifies, or "" for other arguments.
func taskOf(arg string) string {
	for task, with := range taskFlags {
		if arg == task || slices.Contains(with, arg) {
			return task
		}
	}
	return ""
}

// serve connects a daemon to its signals and its monitor, and runs it.
func serve(d *daemon, cfg *config.Config, counts *business) error {
	var err error
	if d.monitor, err = newMonitor(cfg, counts, d.log); err != nil {
		return err
	}
	defer d.monitor.close()
	terminate := make(chan os.Signal, 3)
	signal.Notify(terminate, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(terminate)
	d.terminate = terminate
	inquire := make(chan os.Signal, 1)
	signal.Notify(inquire, syscall.SIGUSR2)
	defer signal.Stop(inquire)
	d.inquire = inquire
	return d.run(cfg)
}

// usageError is an error that only a change of the configuration can fix.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func loadConfig(args []string) (*config.Config, error) {
	options := Options()
	source, err := config.FromProcess("karbor", Program, args, options)
	if err != nil {
		return nil, err
	}
	return config.Load(source, options)
}

func usage(out io.Writer) {
	fmt.Fprintf(out, "usage: %s [--config-file FILE]... [--config-dir DIR]... [%s | %s [%s] [%s] | %s [%s] [%s]] [OPTION]...\n\n",
		Program, dbSync, repairFlag, dryRunFlag, removeOrphansFlag, checkFlag, onlineFlag, jsonFlag)
	for _, f := range []struct{ flag, text string }{
		{dbSync, "Make the tables that are missing in the database, and end."},
		{repairFlag, "Look at the banks, wait, look again, mend what is still wrong, tell what was done, and end."},
		{dryRunFlag, "With " + repairFlag + ": look once, tell what would be done, change nothing."},
		{removeOrphansFlag, "With " + repairFlag + ": remove index entries and data without an index.json, too, which are only reported otherwise."},
		{checkFlag, "Tell what is wrong with the configuration and the provider files, and end: 0 nothing, 1 warnings, 2 failures."},
		{onlineFlag, "With " + checkFlag + ": ask the broker, the database, Keystone and the banks, too."},
		{jsonFlag, "With " + checkFlag + ": print JSON."},
	} {
		fmt.Fprintf(out, "  %s\n      %s\n", f.flag, f.text)
	}
	if err := config.WriteUsage(out, Program, Options()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func syncDatabase(cfg *config.Config, log *telemetry.Log, stdout, stderr io.Writer) int {
	ctx, done := context.WithCancel(context.Background())
	defer done()
	go func() {
		for waited := statusInterval; wait.Sleep(ctx, statusInterval) == nil; waited += statusInterval {
			log.Infof("%s has waited %s for the database", dbSync, waited)
		}
	}()
	db, err := openDatabase(ctx, cfg, log)
	if err == nil {
		defer db.Close()
		kept := journal.Open(db, journal.Options{})
		defer kept.Close()
		err = errors.Join(db.Sync(ctx), kept.Sync(ctx))
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: making the tables: %v\n", Program, err)
		return ExitFailed
	}
	fmt.Fprintln(stdout, "The database has all tables that the service needs.")
	return ExitOK
}

// openDatabase opens the database of [database] connection. It creates the folder of the embedded
// default.
func openDatabase(ctx context.Context, cfg *config.Config, log *telemetry.Log) (*database.DB, error) {
	if embedded(cfg) {
		if err := os.MkdirAll(cfg.String("DEFAULT", "state_path"), 0o750); err != nil {
			return nil, usageError{fmt.Errorf("making the folder of option state_path: %w", err)}
		}
	}
	db, err := database.FromConfig(ctx, cfg, telemetry.Named(log, "database"))
	if err != nil {
		return nil, usageError{fmt.Errorf("option connection in section [database]: %w", err)}
	}
	return db, nil
}

// embedded reports whether the service uses an embedded database of its own.
func embedded(cfg *config.Config) bool { return !cfg.IsSet("database", "connection") }
