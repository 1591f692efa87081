// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/pkg/retention"
	"github.com/karbor-project/karbor/rpc"
)

// pruneFlags say which plan is meant and what is kept of it.
type pruneFlags struct {
	plan, file   string
	rules        retention.Rules
	dryRun, wait bool
}

func checkpointPruneCommand(a *App) *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use: "prune PROVIDER --plan-id PLAN --keep-daily N...", Short: "Delete the checkpoints of a plan that no rule keeps",
		Long: `Delete the caller's checkpoints of a plan that no rule keeps, the oldest first, and print what becomes of each.

One rule is enough to keep a checkpoint, and the newest available one is always kept. Hours, days, weeks (from Monday),
months and years are those of UTC; those without a checkpoint do not count, and a rule that has some left in the end
keeps the oldest checkpoint too. The rules are those of restic's forget.

Only available checkpoints count. What is in error or error-deleting goes as soon as a newer checkpoint is available;
what an operation is at work on stays, and so does what failed its last verification, as far as the workers remember.

A deletion that fails does not stop the others; the command fails in the end. With --wait those that failed are tried
once more, the newest first: a backup that others build on can only go after them.`,
		Example: `  karborctl checkpoint prune PROVIDER --plan-id PLAN --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  karborctl checkpoint prune PROVIDER --plan-file plan.yaml --keep-last 3 --keep-within 30d --wait`,
		Args: exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, a); err != nil {
				return err
			}
			return prune(cmd.Context(), a, args[0], f)
		},
	}
	f.register(cmd)
	return cmd
}

// keepFlags are the flags that set rules, in the order of the help.
var keepFlags = []string{"keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly", "keep-within"}

func (f *pruneFlags) register(cmd *cobra.Command) {
	flags, r := cmd.Flags(), &f.rules
	flags.SortFlags = false
	flags.StringVar(&f.plan, "plan-id", "", "the `PLAN`, by its id, its name or the beginning of either")
	flags.StringVar(&f.file, "plan-file", "", "the plan whose id is in this `FILE`, which checkpoint create reads")
	for i, c := range []*retention.Count{&r.Last, &r.Hourly, &r.Daily, &r.Weekly, &r.Monthly, &r.Yearly} {
		what := "the newest checkpoint of each of the newest `N` " + map[int]string{1: "hours", 2: "days", 3: "weeks", 4: "months", 5: "years"}[i]
		if i == 0 {
			what = "the newest `N` checkpoints"
		}
		flags.TextVar(c, keepFlags[i], retention.Count(0), "keep "+what+"; -1 or unlimited for all")
	}
	flags.TextVar(&r.Within, "keep-within", retention.Duration{}, "keep what is at most that much older than the newest: a `TIME` such as 30d, 2w or 1y5m7d3h")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would become of each, and delete nothing")
	flags.BoolVar(&f.wait, "wait", false, "delete one after the other and show the progress until they are gone")
}

// check finds mistakes of the command line, and reads the id of the plan in a file.
func (f *pruneFlags) check(cmd *cobra.Command, a *App) error {
	if err := notEmpty(cmd, "plan-id", "plan-file"); err != nil {
		return err
	}
	switch {
	case f.plan == "" && f.file == "":
		return usagef("--plan-id or --plan-file is missing")
	case f.plan != "" && f.file != "":
		return usagef("--plan-id and --plan-file: want one of them")
	}
	if err := f.rules.Check(); err != nil {
		return usagef("%w; name one or more of --%s", err, strings.Join(keepFlags, ", --"))
	}
	if f.file == "" {
		return nil
	}
	p, err := (&planFlags{file: f.file}).fromFile(a.In)
	if err != nil {
		return err
	}
	if !isID(p.ID) {
		return usagef("plan file %s: want the plan's id, a UUID, by which its checkpoints are found, got %q", f.file, p.ID)
	}
	f.plan = p.ID
	return nil
}

func prune(ctx context.Context, a *App, provider string, f pruneFlags) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	if provider, err = s.resolveProvider(ctx, provider); err != nil {
		return err
	}
	views, err := s.checkpointsOfPlan(ctx, provider, f.plan)
	if err != nil {
		return err
	}
	doubtful, err := s.doubtful(ctx, provider)
	if err != nil {
		return err
	}
	fates, err := decide(views, doubtful, f.rules, a.Now())
	if err != nil {
		return err
	}
	if err := a.printFates(fates); err != nil || f.dryRun {
		return err
	}
	var ids []string
	for _, one := range fates {
		if one.Action == actionRemove {
			ids = append(ids, one.ID)
		}
	}
	return deleteInTurn(ctx, a, s, provider, ids, f.wait)
}

// prunePage is how many checkpoints are asked for at a time: the answer has a bound.
const prunePage = 100

// What becomes of a checkpoint.
const (
	actionKeep   = "keep"
	actionRemove = "remove"
)

// fate is a checkpoint and what becomes of it.
type fate struct {
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Status  checkpoint.Status `json:"status"`
	Action  string            `json:"action"`
	Reasons []string          `json:"reasons"`
}

func decide(views []checkpointView, doubtful map[string]bool, rules retention.Rules, now time.Time) ([]fate, error) {
	snapshots := make([]retention.Snapshot, len(views))
	for i := range views {
		v := &views[i]
		snapshots[i] = retention.Snapshot{ID: v.ID, Time: time.Unix(v.Timestamp, 0), State: stateOf(v.Status, doubtful[v.ID])}
	}
	decisions, err := retention.Apply(snapshots, rules, now)
	if err != nil {
		return nil, err
	}
	fates := make([]fate, len(decisions))
	for i, d := range decisions {
		fates[i] = fate{d.ID, d.Time, views[i].Status, actionRemove, d.Reasons}
		if d.Keep {
			fates[i].Action = actionKeep
		}
	}
	return fates, nil
}

// stateOf takes what it does not know for unfinished, which stays.
func stateOf(status checkpoint.Status, doubtful bool) retention.State {
	switch {
	case status == checkpoint.Available && doubtful:
		return retention.Doubtful
	case status == checkpoint.Available:
		return retention.Good
	case status == checkpoint.Error || status == checkpoint.ErrorDeleting:
		return retention.Failed
	}
	return retention.Unfinished
}

// deleteInTurn deletes checkpoints one after the other and tells of each that stays. What others built on may go when
// they are gone: with wait what has failed is tried once more, the last one first.
func deleteInTurn(ctx context.Context, a *App, s *session, provider string, ids []string, wait bool) error {
	round := func(ids []string) (failed []string, err error) {
		for _, id := range ids {
			problem, err := deleteCheckpoint(ctx, a, s, provider, id, wait)
			if err != nil {
				return nil, err
			}
			if problem != nil {
				a.note(aboutCheckpoint(id, problem).Error())
				failed = append(failed, id)
			}
		}
		return failed, nil
	}
	failed, err := round(ids)
	if wait && len(failed) > 0 && len(failed) < len(ids) {
		a.note(fmt.Sprintf("trying %d again, the newest first", len(failed)))
		slices.Reverse(failed)
		failed, err = round(failed)
	}
	if err == nil && len(failed) > 0 {
		err = fmt.Errorf("%d of %d checkpoints were not deleted", len(failed), len(ids))
	}
	return err
}

// deleteCheckpoint begins a deletion, and sees it through with wait. problem is why the worker refused it or how it failed.
func deleteCheckpoint(ctx context.Context, a *App, s *session, provider, id string, wait bool) (problem, err error) {
	_, err = s.Call(ctx, deletion(provider, id))
	if err == nil && wait {
		_, _, problem, err = waitDeleted(ctx, a, s, provider, id)
	}
	if errors.As(err, new(*rpc.Failure)) {
		return err, nil
	}
	return problem, err
}

// deletion is the request to delete a checkpoint.
func deletion(provider, id string) client.Request {
	return client.Request{Method: "delete", Version: operationsVersion, Args: map[string]any{"provider_id": provider, "checkpoint_id": id}}
}
