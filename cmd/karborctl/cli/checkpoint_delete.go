// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
	"github.com/karbor-project/karbor/rpc"
)

func (a *App) checkpointDelete() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "delete PROVIDER CHECKPOINT...", Short: "Delete checkpoints with their data",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("PROVIDER", "CHECKPOINT")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteCheckpoints(cmd.Context(), args[0], args[1:], wait)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until they are gone")
	return cmd
}

// deleteCheckpoints starts all deletions before it waits for the first, and
// goes on when one fails. It fails if any did.
func (a *App) deleteCheckpoints(ctx context.Context, provider string, ids []string, wait bool) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	var failures []error
	t := table.New("id", "status")
	started := make([]string, 0, len(ids))
	for _, id := range ids {
		r := client.Request{Method: "delete", Args: map[string]any{"provider_id": provider, "checkpoint_id": id}}
		if _, err := s.Call(ctx, r); err != nil {
			var refused *rpc.Failure
			if !errors.As(err, &refused) {
				return err
			}
			failures = append(failures, deletionError(ids, id, err))
			continue
		}
		started = append(started, id)
	}
	answers := make([]json.RawMessage, 0, len(started))
	for _, id := range started {
		answer, status := json.RawMessage("null"), string(checkpoint.Deleting)
		if wait {
			var problem error
			answer, status, problem, err = a.waitDeleted(ctx, s, provider, id)
			if err != nil {
				return err
			}
			failures = append(failures, problem)
		}
		t.Add(id, status)
		answers = append(answers, answer)
	}
	if err := a.printDeleted(t, answers); err != nil {
		return err
	}
	return errors.Join(failures...)
}

// deletionError names the checkpoint when there are several and the worker's
// text does not.
func deletionError(ids []string, id string, err error) error {
	if len(ids) == 1 || strings.Contains(err.Error(), id) {
		return err
	}
	return fmt.Errorf("checkpoint %s: %w", id, err)
}

func (a *App) printDeleted(t *table.Table, answers []json.RawMessage) error {
	if len(answers) == 0 {
		return nil
	}
	if a.options.format != formatJSON {
		return a.print(nil, func() (*table.Table, error) { return t, nil })
	}
	for _, answer := range answers {
		if err := a.printJSON(answer); err != nil {
			return err
		}
	}
	return nil
}

// waitDeleted takes a checkpoint that cannot be found any more for a deleted
// one: the workers of the original remove its index too.
func (a *App) waitDeleted(ctx context.Context, s *session, provider, id string) (answer json.RawMessage, status string, problem, err error) {
	look := checkpointStatus(s, provider, id)
	return a.wait(ctx, s, waiting{
		what: "checkpoint " + id, look: "karborctl checkpoint show " + provider + " " + id,
		operation: selection{kind: "delete", provider: provider, checkpoint: id},
		status: func(ctx context.Context) (json.RawMessage, string, error) {
			answer, status, err := look(ctx)
			if errors.Is(err, &rpc.Failure{Class: "CheckpointNotFound"}) {
				return json.RawMessage("null"), string(checkpoint.Deleted), nil
			}
			return answer, status, err
		},
		running: func(status string) bool { return status == string(checkpoint.Deleting) },
		good:    string(checkpoint.Deleted),
	})
}
