// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// journalOptions say what operations keep so that they outlive their worker.
func journalOptions() []config.Option {
	return []config.Option{
		{Name: "journal_key_file", Kind: config.String, Default: "$state_path/journal.key",
			Help: "The file of the keys with which callers' credentials are encrypted in the journal of operations, and its entries signed: " +
				"32 bytes in hexadecimal in each line, of which the first seals and all open. It is made when it is missing. It may be readable " +
				"to its owner and a group of the service only. Workers that share a database need the same one to go on with each other's operations."},
		{Name: "journal_accept_unsigned", Kind: config.Bool, Default: false,
			Help: "Whether to go on with operations whose entries in the journal are not signed, as workers of older versions begin them. " +
				"Whoever can write to the database can then make up operations. Set it for the time of an upgrade only."},
	}
}

// openJournal prepares the journal, in karbor's own database.
func (i *instance) openJournal(cfg *config.Config, wrap Wrap) error {
	i.journal = journal.Open(i.db, journal.Options{})
	kept := ownership.FromConfig(cfg)
	kept.Journal, kept.Host, kept.Log = wrapped[journal.Journal](wrap.Journal, i.journal), i.host, telemetry.Named(i.log, "ownership")
	if embedded(cfg) {
		// Nobody else uses the database: whose process is gone is dead at once.
		kept.Locks = filepath.Join(cfg.String("DEFAULT", "state_path"), "owners")
	}
	// The engine is made later, and before the keeper starts.
	kept.Adopt = func(e journal.Entry) { i.engine.Adopt(e) }
	kept.Able = func(e journal.Entry) error { return i.engine.Able(e) }
	kept.Working = func(id string) bool { return i.engine.Working(id) }
	kept.Cancel = func(e journal.Entry) { i.engine.Cancelled(e.ID, e.CancelledBy) }
	var err error
	if i.keeper, err = ownership.New(kept); err != nil {
		return usageError{err}
	}
	return nil
}

// makeEngine makes the engine of operations, and the janitor.
func (i *instance) makeEngine(cfg *config.Config, wrap Wrap, protectables operation.Grapher) error {
	sealer, err := journal.NewSealer(cfg.String("DEFAULT", "journal_key_file"))
	if err != nil {
		return fmt.Errorf("option journal_key_file in section [DEFAULT]: %w", err)
	}
	c := operation.Config{
		Protectables: protectables, Records: wrapped[operation.Records](wrap.Records, i.db), Log: i.log,
		Journal: wrapped[journal.Journal](wrap.Journal, i.journal), Tenure: i.keeper, Sealer: sealer,
		AcceptUnsigned: cfg.Bool("DEFAULT", "journal_accept_unsigned"),
		Providers:      i.providers,
	}
	c.Configure(cfg)
	i.engine = operation.New(c)
	clean := janitor.FromConfig(cfg)
	clean.Providers, clean.Journal, clean.Judge, clean.Records = i.providers.All(), i.journal, i.engine, i.db
	clean.Tenure, clean.Owner, clean.Log = i.keeper, i.keeper.ID(), telemetry.Named(i.log, "janitor")
	i.janitor = janitor.New(clean)
	return nil
}

// The pauses between attempts to make the journal's tables, and to find karbor's.
const (
	firstSync   = time.Second
	longestSync = 30 * time.Second
)

// own waits for the tables and takes part in sharing operations.
func (i *instance) own(ctx context.Context) error {
	if err := i.awaitTables(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	return i.keeper.Start(ctx)
}

// awaitTables makes the journal's tables, and waits until they and karbor's own are
// there and may be written. A database that is away delays that, and what starts
// operations, but not the service: then it goes on beside.
func (i *instance) awaitTables(ctx context.Context) error {
	told := ""
	for pause := firstSync; ; pause = min(2*pause, longestSync) {
		first, cancel := context.WithTimeout(ctx, closeTime)
		err := i.syncTables(first)
		cancel()
		if err == nil {
			return nil
		}
		refusal := database.Refused(err)
		if refusal == nil {
			i.log.Warnf("the journal of operations is not there yet: %v", err)
			i.later.Go(func() { i.syncLater() })
			return nil
		}
		if text := err.Error(); text != told {
			i.log.Errorf("no requests are taken yet, since %s: %v", refusal.Advice(), err)
			told = text
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-i.ending.Done():
			return context.Cause(i.ending)
		case <-time.After(pause):
		}
	}
}

// syncTables makes the tables of the journal, and checks karbor's own: those are
// karbor-manage's, or --db-sync's.
func (i *instance) syncTables(ctx context.Context) error {
	if err := i.journal.Sync(ctx); err != nil {
		return err
	}
	return i.db.Check(ctx)
}

// syncLater repeats until the tables are there.
func (i *instance) syncLater() {
	for pause := firstSync; ; pause = min(2*pause, longestSync) {
		select {
		case <-i.ending.Done():
			return
		case <-time.After(pause):
		}
		err := i.syncTables(i.ending)
		switch {
		case err == nil:
			i.log.Info("the journal of operations is there")
			return
		case i.ending.Err() != nil:
		case database.Refused(err) != nil:
			i.log.Errorf("no operation can be recorded, since %s: %v", database.Refused(err).Advice(), err)
		default:
			i.log.Debugf("make the tables of the journal: %v", err)
		}
	}
}
