// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/test/functional/history"
)

// entries is a journal with failpoints.
type entries struct {
	journal.Journal
	watch *watch
}

func (j entries) Begin(ctx context.Context, e journal.Entry) (kept journal.Entry, fresh bool, err error) {
	before := history.Event{What: history.Begin, Operation: e.ID, Kind: e.Kind, Checkpoint: e.CheckpointID, Plan: e.PlanID, Owner: e.Owner}
	err = j.watch.around(before, func(after *history.Event) error {
		kept, fresh, err = j.Journal.Begin(ctx, e)
		after.Operation, after.Fresh, after.Generation = kept.ID, fresh, kept.Generation
		return err
	})
	return kept, fresh, err
}

func (j entries) Start(ctx context.Context, id string, c journal.Claim) error {
	return j.watch.around(claimed(history.Start, id, c), func(*history.Event) error { return j.Journal.Start(ctx, id, c) })
}

func (j entries) Write(ctx context.Context, id string, c journal.Claim, marks ...journal.Mark) error {
	e := claimed(history.Write, id, c)
	for _, m := range marks {
		var p progress.Resource
		if json.Unmarshal(m.Value, &p) == nil && p.ID != "" {
			for _, hook := range p.Done {
				e.Done = append(e.Done, p.ID+" "+hook)
			}
		}
	}
	return j.watch.around(e, func(*history.Event) error { return j.Journal.Write(ctx, id, c, marks...) })
}

func (j entries) End(ctx context.Context, id string, c journal.Claim, o journal.Outcome, reason string, left json.RawMessage) error {
	e := claimed(history.End, id, c)
	e.Status = string(o)
	return j.watch.around(e, func(*history.Event) error { return j.Journal.End(ctx, id, c, o, reason, left) })
}

func (j entries) Cancel(ctx context.Context, id, by string) error {
	return j.watch.around(history.Event{What: history.Cancel, Operation: id}, func(*history.Event) error { return j.Journal.Cancel(ctx, id, by) })
}

func (j entries) Adopt(ctx context.Context, id string, from journal.Claim, owner string) (c journal.Claim, err error) {
	before := history.Event{What: history.Adopt, Operation: id, From: from.Owner, Owner: owner}
	err = j.watch.around(before, func(after *history.Event) error {
		c, err = j.Journal.Adopt(ctx, id, from, owner)
		after.Generation = c.Generation
		return err
	})
	return c, err
}

func (j entries) Announce(ctx context.Context, o journal.Owner, hold time.Duration) error {
	return j.watch.around(history.Event{What: history.Announce, Owner: o.ID}, func(*history.Event) error { return j.Journal.Announce(ctx, o, hold) })
}

func (j entries) Retire(ctx context.Context, owner string) error {
	return j.watch.around(history.Event{What: history.Retire, Owner: owner}, func(*history.Event) error { return j.Journal.Retire(ctx, owner) })
}

func claimed(what, id string, c journal.Claim) history.Event {
	return history.Event{What: what, Operation: id, Owner: c.Owner, Generation: c.Generation}
}

// records are the tables with failpoints.
type records struct {
	operation.Records
	watch *watch
}

func (r records) create(e history.Event, do func() (string, error)) (id string, err error) {
	err = r.watch.around(e, func(*history.Event) error {
		id, err = do()
		return err
	})
	return id, err
}

func (r records) CreateOperationLog(ctx context.Context, row *database.OperationLog) (string, error) {
	return r.create(history.Event{What: history.CreateLog, Operation: row.ID, Status: row.Status},
		func() (string, error) { return r.Records.CreateOperationLog(ctx, row) })
}

func (r records) UpdateOperationLog(ctx context.Context, id string, u database.OperationLogUpdate) error {
	e := history.Event{What: history.UpdateLog, Operation: id, Status: value(u.Status), Closed: u.EndedAt != nil}
	return r.watch.around(e, func(*history.Event) error { return r.Records.UpdateOperationLog(ctx, id, u) })
}

func (r records) Create(ctx context.Context, kind database.RecordKind, row *database.Record) (string, error) {
	return r.create(history.Event{What: history.CreateRecord, Key: row.ID},
		func() (string, error) { return r.Records.Create(ctx, kind, row) })
}

func (r records) Update(ctx context.Context, kind database.RecordKind, id string, u database.RecordUpdate) error {
	return r.watch.around(updated(id, u), func(*history.Event) error { return r.Records.Update(ctx, kind, id, u) })
}

func updated(id string, u database.RecordUpdate) history.Event {
	return history.Event{What: history.UpdateRecord, Key: id, Status: value(u.Status)}
}
