// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// recall reads what earlier runs of a resumed operation have noted, and the
// verdict if there is one.
func (r *run) recall(ctx context.Context) (*verdict, error) {
	if !r.resumed {
		return nil, nil
	}
	var marks []journal.Mark
	err := r.engine.journaled(ctx, r.log, func(ctx context.Context) error {
		var err error
		marks, err = r.engine.journal.Marks(ctx, r.entry.ID, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	var spoken *verdict
	var last *attempt
	r.track.reset()
	for _, m := range marks {
		r.underway = r.underway || m.Key != verdictMark && m.Key != attemptMark
		switch {
		case m.Key == attemptMark:
			last = &attempt{}
			err = json.Unmarshal(m.Value, last)
		case m.Key == verdictMark:
			spoken = &verdict{}
			err = json.Unmarshal(m.Value, spoken)
		case m.Key == walkedMark:
			r.walked = true
		case strings.HasPrefix(m.Key, progressMarks):
			var p *Progress
			if p, err = decodeProgress(m.Value); err == nil {
				r.track.recall(p)
			}
		case strings.HasPrefix(m.Key, reportMarks):
			var told Report
			if err = json.Unmarshal(m.Value, &told); err == nil {
				r.track.recallReport(told)
			}
		case strings.HasPrefix(m.Key, stateMarks):
			r.track.recallState(m.Key, m.Value)
		}
		if err != nil {
			return nil, permanent(fmt.Errorf("read mark %q of operation %s: %w", m.Key, r.entry.ID, err))
		}
	}
	r.assess(last)
	return spoken, nil
}

// verdictOf reads the verdict of an entry, nil if there is none.
func (e *Engine) verdictOf(ctx context.Context, id string) (*verdict, error) {
	marks, err := e.journal.Marks(ctx, id, verdictMark)
	if err != nil || len(marks) == 0 {
		return nil, err
	}
	v := &verdict{}
	return v, json.Unmarshal(marks[0].Value, v)
}

// Able returns why this worker could not go on with an operation: it knows no
// such kind, or has not loaded the provider. The entry needs no input. Who adopts
// it all the same keeps it from a worker that could; one that was cancelled then
// ends.
func (e *Engine) Able(entry journal.Entry) error {
	if !known(protection.Kind(entry.Kind)) {
		return fmt.Errorf("no operation %q is known here", entry.Kind)
	}
	if e.Providers == nil {
		return nil
	}
	_, err := e.Providers.Get(entry.ProviderID)
	return err
}

// Adopt goes on with an operation that this worker has adopted, or ends one that
// was cancelled and cannot go on here: entry has the new claim. It does not wait.
func (e *Engine) Adopt(entry journal.Entry) {
	arrived := e.expect(entry.ID)
	e.mu.Lock()
	delete(e.stranded, entry.ID)
	stopping := e.stopping
	if !stopping {
		e.alive.Add(1)
	}
	e.mu.Unlock()
	if stopping {
		arrived()
		return
	}
	go func() {
		defer e.alive.Done()
		log := e.log.WithField("operation_id", entry.ID).WithField("operation", entry.Kind)
		if old := e.find(entry.ID); old != nil { // of an earlier claim, without which it is about to end
			old.leave(errors.Join(protection.ErrHandover, journal.ErrClaim))
			<-old.done
		}
		err := e.adopt(e.ctx, entry)
		switch {
		case err == nil:
			log.Infof("adopted, generation %d", entry.Generation)
		case entry.CancelledBy != "":
			log.Warnf("an operation that cannot go on here is ended, as %s wants: %v", entry.CancelledBy, err)
			e.abandon(e.ctx, entry, err)
		default:
			// It stays this worker's: when its provider is there again, a new start
			// goes on with it.
			log.Errorf("an adopted operation cannot go on here: %v", err)
			e.strand(entry, err)
		}
		arrived()
	}()
}

func (e *Engine) adopt(ctx context.Context, entry journal.Entry) error {
	in, err := e.inputOf(ctx, entry)
	if errors.Is(err, errForged) {
		e.reject(entry, err)
		return nil
	}
	if err != nil {
		return err
	}
	p, err := e.Providers.Get(entry.ProviderID)
	if err != nil {
		return err
	}
	// Without the caller's credentials the hooks fail, and so the operation is
	// ended as it should.
	caller, callerErr := in.caller(e.Sealer, entry.ID)
	if callerErr != nil {
		caller = &requestcontext.RequestContext{ProjectID: entry.ProjectID}
	}
	r := e.resume(entry, in, caller, p)
	if callerErr != nil {
		r.log.Errorf("going on without the caller's credentials: %v", callerErr)
	}
	if _, ok := e.enlist(r); !ok {
		return nil // it stops, or is there already
	}
	r.start()
	if entry.CancelledBy != "" {
		e.Cancelled(entry.ID, entry.CancelledBy) // it waits for no turn
	}
	return nil
}

// inputOf reads the input of an adopted operation, errForged if it cannot be trusted.
func (e *Engine) inputOf(ctx context.Context, entry journal.Entry) (*input, error) {
	if entry.Input == nil {
		err := e.journaled(ctx, e.log, func(ctx context.Context) error {
			whole, err := e.journal.Get(ctx, entry.ID)
			if err == nil {
				entry.Input = whole.Input
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := verify(&entry, e.Sealer, e.AcceptUnsigned); err != nil {
		return nil, err
	}
	in, err := decodeInput(entry.Input)
	if err != nil {
		return nil, err
	}
	return in, in.check(protection.Kind(entry.Kind))
}

// resume makes the run of an adopted operation. One that was cancelled starts no
// hook.
func (e *Engine) resume(entry journal.Entry, in *input, caller *requestcontext.RequestContext, p *providers.Provider) *run {
	size := len(entry.Input)
	entry.Input = nil // in says the same
	r := e.newRun(entry, in, caller, p)
	r.job.size = size
	r.resumed = true
	if entry.CancelledBy != "" {
		r.cancel(entry.CancelledBy)
	}
	return r
}
