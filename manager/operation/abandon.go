// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// stranded is an operation of this worker with which it cannot go on.
type stranded struct {
	entry journal.Entry
	why   error
}

// strand keeps an operation of which that is so, for its end.
func (e *Engine) strand(entry journal.Entry, why error) {
	entry.Input = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stranded[entry.ID] = stranded{entry, why}
}

func (e *Engine) strandedOne(id string) (s stranded, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok = e.stranded[id]
	return s, ok
}

// abandon ends an operation that was cancelled and that this worker cannot go on
// with: unable says why. The tables and the journal are all that it reaches, so
// what stays elsewhere is told of.
func (e *Engine) abandon(ctx context.Context, entry journal.Entry, unable error) {
	in, err := e.inputOf(ctx, entry)
	if err != nil { // the entry says the most important
		in = inputOfEntry(&entry)
	}
	if in.Record == nil {
		in.Record = inputOfEntry(&entry).Record
	}
	e.endWithoutProvider(entry, in, func(r *run) error { return r.resign(r.ctx, unable) })
}

// reject ends an operation whose entry cannot be trusted. It is failed in the tables
// and in the journal, which is what those could write to who have changed it; what the
// entry names in a bank or a cloud is left alone.
func (e *Engine) reject(entry journal.Entry, why error) {
	e.endWithoutProvider(entry, inputOfEntry(&entry), func(r *run) error {
		v := r.forged(why)
		if err := r.pronounce(r.ctx, v); err != nil {
			return r.given(err)
		}
		return r.finish(r.ctx, v, false, errForged)
	})
}

// forged is the verdict on an operation whose entry cannot be trusted. What is wrong
// with the entry is for operators alone.
func (r *run) forged(why error) verdict {
	r.log.Errorf("%s is not gone on with: %v", r.entry.Kind, why)
	return verdict{Reason: errForged.Error()}
}

// endWithoutProvider makes the run of an adopted operation, and has it ended.
func (e *Engine) endWithoutProvider(entry journal.Entry, in *input, end func(*run) error) {
	r := e.resume(entry, in, &requestcontext.RequestContext{ProjectID: entry.ProjectID}, nil)
	if _, ok := e.enlist(r); !ok {
		return
	}
	defer e.forget(entry.ID)
	r.job.once.Do(func() {}) // it takes no slot
	if err := end(r); err != nil {
		r.log.Infof("%s is left for others to end: %s", entry.Kind, fault.Detail(err))
	}
}

// resign ends a run without its provider. An error leaves it to others.
func (r *run) resign(ctx context.Context, unable error) error {
	spoken, err := r.recall(ctx)
	if err != nil && (ctx.Err() != nil || handedOver(err) || !final(err)) {
		return r.given(err)
	}
	if spoken != nil && !spoken.Cancelled { // it had failed before anybody cancelled it
		return r.finish(ctx, *spoken, false, errors.New(spoken.Reason))
	}
	if spoken == nil && r.walked {
		seen, err := r.seen(ctx)
		if err != nil {
			return r.given(err)
		}
		if seen {
			return r.end(ctx, journal.Succeeded, "")
		}
	}
	cause := error(&protection.CancelError{By: r.cancelledBy()})
	v := verdict{Reason: cause.Error(), Cancelled: true}
	if left := r.left(); left != "" {
		text := "; " + left + ": " + describe(unable)
		v.Reason, cause = v.Reason+text, fmt.Errorf("%w%s", cause, text)
	}
	if err := r.pronounce(ctx, v); err != nil {
		return r.given(err)
	}
	return r.finish(ctx, v, false, cause)
}

// seen tells whether users see the success of an operation whose hooks have all
// ended well: of a restore or a verification it is made visible here, of the
// others it is in the bank before the operation log is closed.
func (r *run) seen(ctx context.Context) (seen bool, err error) {
	if o, ok := r.work.(*reading); ok {
		return true, o.complete(ctx)
	}
	err = r.engine.persist(ctx, func(ctx context.Context) error {
		row, err := r.engine.Records.GetOperationLog(ctx, r.entry.ID)
		if err == nil {
			status := checkpoint.Status(row.Status)
			seen = !row.EndedAt.IsZero() && (status == checkpoint.Available || status == checkpoint.Deleted)
		}
		return err
	})
	if err != nil && ctx.Err() == nil && final(err) && !handedOver(err) { // there is no such row, or nobody may read it
		return false, nil
	}
	return seen, err
}

// left says what stays of an operation that ends without its provider.
func (r *run) left() string {
	var parts []string
	switch r.flow.kind {
	case protection.Protect, protection.Copy, protection.Delete:
		parts = append(parts, "the status of checkpoint "+r.input.Checkpoint+" stays as it is in the bank")
	}
	switch r.flow.kind {
	case protection.Protect, protection.Copy, protection.Restore:
		if r.danger.mayHaveRun() {
			parts = append(parts, "not removed: what was made of "+strings.Join(r.touched(), ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// touched names the resources of which something may have been made: a hook may
// have done so before anybody could note it.
func (r *run) touched() []string {
	made := map[string]string{} // by resource: the new ones, where they are known
	if graph, err := resource.Unpack(r.input.Graph); err == nil {
		for _, node := range graph.Nodes() {
			made[node.Key().String()] = ""
		}
	}
	for _, p := range r.track.all() {
		name := resource.Key{Type: p.Type, ID: p.ID}.String()
		made[name] = ""
		if len(p.Restored) > 0 {
			made[name] = " (" + strings.Join(slices.Sorted(maps.Values(p.Restored)), ", ") + ")"
		}
	}
	if len(made) == 0 {
		return []string{"the resources of checkpoint " + r.entry.CheckpointID}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(made)) {
		names = append(names, name+made[name])
	}
	return names
}
