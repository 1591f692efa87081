// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// abandon ends a cancelled operation without its provider. It can reach only the tables and the
// journal, so the reason names what stays elsewhere; unable says why the operation cannot continue.
func (r *run) abandon(ctx context.Context, unable error) error {
	if err := r.recall(ctx); err != nil && (ctx.Err() != nil || failure.HandedOver(err) || !failure.Final(err)) {
		return err
	}
	if r.phase == walked {
		seen, err := r.seen(ctx)
		if err != nil {
			return err
		}
		if seen {
			return r.end(ctx, journal.Succeeded, "")
		}
	}
	if r.outcome == nil || r.phase == undoing {
		o := outcome{Reason: (&protection.CancelError{By: r.cancelledBy()}).Error(), Cancelled: true, Undone: true}
		if left := r.left(); left != "" {
			o.Reason += "; " + left + ": " + failure.Describe(unable)
		}
		if err := r.decide(ctx, o); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// seen reports whether users see the success of an operation whose hooks have all succeeded. For a
// restore or a verification, seen makes the success visible. For other operations the success is in
// the bank before the operation log is closed.
func (r *run) seen(ctx context.Context) (seen bool, err error) {
	if o, ok := r.work.(*reading); ok {
		return true, r.engine.retry.Do(ctx, o.complete)
	}
	err = r.engine.retry.Do(ctx, func(ctx context.Context) error {
		row, err := r.engine.Records.GetOperationLog(ctx, r.entry.ID)
		if err == nil {
			status := checkpoint.Status(row.Status)
			seen = !row.EndedAt.IsZero() && (status == checkpoint.Available || status == checkpoint.Deleted)
		}
		return err
	})
	if err != nil && ctx.Err() == nil && failure.Final(err) && !failure.HandedOver(err) { // the row is gone, or nobody may read it
		return false, nil
	}
	return seen, err
}

// left describes what remains of an operation that ends without its provider.
func (r *run) left() string {
	var parts []string
	switch r.flow.Kind {
	case protection.Protect, protection.Copy, protection.Delete:
		parts = append(parts, "the status of checkpoint "+r.input.Checkpoint+" stays as it is in the bank")
	}
	switch r.flow.Kind {
	case protection.Protect, protection.Copy, protection.Restore:
		if r.probation.mayHaveRun() {
			parts = append(parts, "not removed: what was made of "+strings.Join(r.touched(), ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// touched names the resources for which something may have been made, including those of hooks that
// did so before it could be recorded.
func (r *run) touched() []string {
	made := map[string]string{} // new resources by resource, where known
	if graph, err := resource.Unpack(r.input.Graph); err == nil {
		for _, node := range graph.Nodes() {
			made[node.Key().String()] = ""
		}
	}
	for _, known := range r.tracker.All() {
		name := known.Key().String()
		made[name] = ""
		if len(known.Restored) > 0 {
			made[name] = " (" + strings.Join(slices.Sorted(maps.Values(known.Restored)), ", ") + ")"
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
