// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func (a *App) checkpointCopy() *cobra.Command {
	var plan planFlags
	var wait bool
	cmd := &cobra.Command{
		Use: "copy PROVIDER --plan-id ID", Short: "Copy the available checkpoints of a plan",
		Long: "Copy the caller's available checkpoints of a plan. The resources are those of the plan; the plugin of\n" +
			"each must be able to copy. Without resources nothing but the index of the checkpoints is copied.",
		Args: exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := plan.read(a.In, args[0])
			if err != nil {
				return err
			}
			if plan.id == "" && plan.file == "" {
				return usagef("--plan-id is missing")
			}
			return a.copyCheckpoints(cmd.Context(), p, wait)
		},
	}
	plan.register(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until the copies are made; the failure of one is the command's")
	return cmd
}

// pair is a checkpoint and its copy. manager/operation: Pair
type pair struct {
	Source string `json:"checkpoint_protect_id"`
	Copy   string `json:"checkpoint_copy_id"`
}

// copyCheckpoints starts the copies, which run side by side, and waits for one
// after the other. It fails if any did.
func (a *App) copyCheckpoints(ctx context.Context, p *plan, wait bool) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	answer, err := s.Call(ctx, client.Request{Method: "copy", Args: map[string]any{"plan": p}})
	if err != nil {
		return err
	}
	var pairs []pair
	if err := decode(answer, &pairs); err != nil {
		return err
	}
	if !wait {
		return a.print(answer, func() (*table.Table, error) {
			t := table.New("source", "copy")
			for _, p := range pairs {
				t.Add(p.Source, p.Copy)
			}
			return t, nil
		})
	}
	t := table.New("source", "copy", "status")
	var failures []error
	for _, one := range pairs {
		status, problem, err := a.waitCopied(ctx, s, p.ProviderID, one.Copy)
		if err != nil {
			return err
		}
		failures = append(failures, problem)
		t.Add(one.Source, one.Copy, status)
	}
	if err := a.print(answer, func() (*table.Table, error) { return t, nil }); err != nil {
		return err
	}
	return errors.Join(failures...)
}

func (a *App) waitCopied(ctx context.Context, s *session, provider, id string) (status string, problem, err error) {
	_, status, problem, err = a.wait(ctx, s, waiting{
		what: "checkpoint " + id, look: "karborctl checkpoint show " + provider + " " + id,
		operation: selection{kind: "copy", provider: provider, checkpoint: id},
		status:    checkpointStatus(s, provider, id),
		running: func(status string) bool {
			return status == string(checkpoint.WaitCopying) || status == string(checkpoint.Copying)
		},
		good: string(checkpoint.Available),
	})
	return status, problem, err
}
