// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// The flags of a repair and of a dry run.
const (
	repairFlag        = "--repair"
	dryRunFlag        = "--dry-run"
	removeOrphansFlag = "--remove-orphans"
)

// repair runs the janitor of a worker once. It takes no requests and resumes no operations, and may
// run beside workers.
func repair(cfg *config.Config, setup Setup, log *telemetry.Log, dry, removeOrphans bool, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := repairBanks(ctx, cfg, setup, log, dry, removeOrphans, stdout)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(stderr, "%s: repair: %v\n", Program, err)
	if errors.As(err, new(usageError)) {
		return ExitUsage
	}
	return ExitFailed
}

func repairBanks(ctx context.Context, cfg *config.Config, setup Setup, log *telemetry.Log, dry, removeOrphans bool, out io.Writer) error {
	db, err := openDatabase(ctx, cfg, log)
	if err != nil {
		return err
	}
	// Errors at the end do not affect the repair, and are only logged.
	closing := func(what string, c io.Closer) {
		if err := c.Close(); err != nil {
			log.Warnf("closing the %s: %v", what, err)
		}
	}
	defer closing("database", db)
	kept := journal.Open(db, journal.Options{})
	defer closing("journal", kept)
	if !dry {
		if err := kept.Sync(ctx); err != nil {
			return fmt.Errorf("making the journal's tables: %w", err)
		}
	}
	identity, err := openstack.FromConfig(cfg)
	if err != nil {
		return usageError{err}
	}
	clients := openstack.New(identity, telemetry.Named(log, "openstack"))
	defer clients.Close()
	loaded, err := loadProviders(cfg, setup, clients, newCluster(cfg), log)
	if err != nil {
		return usageError{err}
	}
	defer closing("providers", loaded)
	engine := operation.New(operation.Config{Records: db, Log: log, Journal: kept, Providers: loaded})
	defer engine.Stop(context.WithoutCancel(ctx))

	c := janitor.FromConfig(cfg)
	c.RemoveOrphans = removeOrphans
	c.Providers, c.Journal, c.Judge, c.Records, c.Log = loaded.All(), kept, engine, db, telemetry.Named(log, "janitor")
	j := janitor.New(c)
	var lines []string
	if dry {
		lines, err = j.Plan(ctx)
	} else {
		lines, err = j.Repair(ctx, func(text string) { fmt.Fprintln(out, printable.Line(text)) })
	}
	for _, line := range lines {
		fmt.Fprintln(out, printable.Line(line))
	}
	if err == nil && len(lines) == 0 {
		fmt.Fprintln(out, "Nothing is wrong.")
	}
	return err
}
