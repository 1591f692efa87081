// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/rpc"
)

// begin records an operation and opens it. fresh is false when the message had
// been recorded before: then r is nil. When the operation cannot be opened, it
// ends, and the error is that of open.
func (e *Engine) begin(ctx context.Context, entry journal.Entry, in *input, p *providers.Provider) (r *run, fresh bool, err error) {
	request, caller := requestOf(ctx), requestcontext.From(ctx)
	entry.ID, entry.Owner = newID(), e.Tenure.ID()
	defer e.expect(entry.ID)()
	if entry.Key == "" {
		entry.Key = request.Key
	}
	in.Version = inputVersion
	if err := in.putCaller(caller, e.Sealer, entry.ID, e.Now()); err != nil {
		return nil, false, err
	}
	if entry.Input, err = json.Marshal(in); err != nil {
		return nil, false, fmt.Errorf("encode the input of the operation: %w", err)
	}
	sign(&entry, e.Sealer)
	if err := recordable(&entry, in); err != nil {
		return nil, false, err
	}
	size := len(entry.Input) + in.held
	if err := e.admit(entry.ProjectID, size); err != nil {
		return nil, false, err
	}
	entry.CreatedAt = e.Now().UTC()
	kept, fresh, err := e.enter(ctx, entry)
	var busy *journal.BusyError
	switch {
	case errors.As(err, &busy):
		return nil, false, inUse(in.subject(), busy)
	case err != nil:
		return nil, false, unrecorded(err)
	}
	request.accepted()
	if !fresh {
		return nil, false, nil
	}
	kept.Input = nil // in says the same
	r = e.newRun(kept, in, caller, p)
	r.job.size = size
	if _, ok := e.enlist(r); !ok { // the service stops: who goes on answers nobody
		return nil, false, fault.KarborException("The service is stopping; the operation goes on when it is back").WithCause(ErrStopping)
	}
	if err = r.open(r.writing(ctx)); err == nil {
		err = r.build(r.writing(ctx))
	}
	if err != nil && (r.ctx.Err() != nil || errors.Is(err, protection.ErrHandover) || errors.Is(context.Cause(ctx), rpc.ErrStopped)) {
		// Nothing is wrong with the operation, but this worker has to leave it: it is
		// on record, and who goes on opens it.
		r.log.Infof("%s is opened later: %s", entry.Kind, fault.Detail(err))
		r.resumed = true
		return r, true, nil
	}
	return r, true, err
}

// enter begins an entry. Users see that an operation has ended a moment before
// its entry is closed, and may ask for the next one at once: that waits.
func (e *Engine) enter(ctx context.Context, entry journal.Entry) (journal.Entry, bool, error) {
	deadline := time.Now().Add(e.Patience)
	for {
		kept, fresh, err := e.journal.Begin(ctx, entry)
		var busy *journal.BusyError
		if !errors.As(err, &busy) || !time.Now().Before(deadline) {
			return kept, fresh, err
		}
		select {
		case <-time.After(betweenEntries):
		case <-ctx.Done():
			return kept, fresh, err
		}
	}
}

// betweenEntries is the pause between two attempts to begin an entry.
const betweenEntries = 50 * time.Millisecond

// recordable checks what users can make too large for the journal and the tables.
// What a checkpoint of somebody else's has is no reason to refuse an operation on it.
func recordable(entry *journal.Entry, in *input) error {
	for name, value := range map[string]string{
		"provider_id": entry.ProviderID, "checkpoint_id": entry.CheckpointID, "plan id": entry.PlanID,
		"project_id": entry.ProjectID, "record id": entry.RecordID,
	} {
		if len(value) > journal.MaxText || !utf8.ValidString(value) || strings.Contains(value, "\x00") {
			return fault.InvalidInput(fmt.Sprintf("%s: want a text of at most %d bytes", name, journal.MaxText))
		}
	}
	if in.Plan != nil {
		row := database.OperationLog{ProjectID: entry.ProjectID, PlanID: entry.PlanID, ScheduledOperationID: scheduledOperation(in.ExtraInfo)}
		if err := row.Check(); err != nil {
			return fault.InvalidInput(err.Error())
		}
	}
	if in.Record != nil && in.Record.New != nil {
		if err := in.Record.New.Check(); err != nil {
			return fault.InvalidInput(err.Error())
		}
	}
	if len(entry.Input) > journal.MaxInput {
		return fault.InvalidInput(fmt.Sprintf("the plan and all that depends on it take %d bytes, at most %d can be kept",
			len(entry.Input), journal.MaxInput))
	}
	return nil
}

func (in *input) subject() string {
	if in.Source != "" {
		return in.Source
	}
	return in.Checkpoint
}

// inUse is the answer to a request for a checkpoint that another operation is
// at work on.
func inUse(checkpointID string, busy *journal.BusyError) error {
	return fault.InvalidInput(fmt.Sprintf("Checkpoint %s is in use: a %s (operation %s) is at work on it.",
		checkpointID, busy.Other.Kind, busy.Other.ID)).WithCause(busy)
}

// refuse ends an operation that could not be opened. told is the text that the
// caller gets.
func (r *run) refuse(ctx context.Context, cause error, told string) {
	ctx, cancel := cleanup(r.writing(ctx))
	defer cancel()
	v := verdict{Reason: describe(cause), Refused: told}
	err := r.pronounce(ctx, v)
	if err == nil {
		err = r.work.fail(ctx, false, cause)
	}
	if err == nil || Overtaken(err) {
		err = r.engine.journal.End(ctx, r.entry.ID, r.entry.Claim, journal.Failed, v.Reason, r.input.left())
	}
	if err == nil {
		r.engine.forget(r.entry.ID)
		return
	}
	r.log.Warnf("that the %s was refused is written later: %s", r.entry.Kind, fault.Detail(err))
	r.sentence = &v
	r.start()
}

// start hands a run that is open to the scheduler.
func (r *run) start() {
	if !r.engine.scheduler.submit(r.job) {
		r.engine.forget(r.entry.ID)
	}
}
