// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

// createdBy marks checkpoints that no schedule has made.
// karbor: api/v1/providers.py, checkpoints_create
const createdBy = `{"created_by": "manual"}`

func (a *App) checkpointCreate() *cobra.Command {
	var plan planFlags
	var wait bool
	cmd := &cobra.Command{
		Use:   "create PROVIDER --resource TYPE=ID[:NAME]...",
		Short: "Protect resources, and what depends on them, in a new checkpoint",
		Example: `  karborctl checkpoint create PROVIDER --resource server=ID:web --resource volume=ID --name nightly --wait
  karborctl checkpoint create PROVIDER --resource volume=ID --parameter volume:backup_mode=full
  karborctl checkpoint create PROVIDER --plan-file plan.json
  ID=$(karborctl checkpoint create PROVIDER --resource image=ID -f value -c id)`,
		Args: exactly("PROVIDER"),
	}
	plan.register(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until the checkpoint is made; its failure is the command's")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := plan.read(a.In, args[0])
		if err != nil {
			return err
		}
		if len(p.Resources) == 0 {
			return usagef("nothing to protect: --resource or --plan-file is missing")
		}
		return a.createCheckpoint(cmd, p, wait)
	}
	return cmd
}

func (a *App) createCheckpoint(cmd *cobra.Command, p *plan, wait bool) error {
	ctx := cmd.Context()
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	p.ProjectID = s.caller.ProjectID
	r := client.Request{Method: "protect", Args: map[string]any{
		"plan": p, "checkpoint_properties": map[string]any{"extra_info": createdBy}}}
	id, err := a.begin(ctx, s, r, wait, [2]string{"plan_id", p.ID})
	if err != nil || !wait {
		return err
	}
	answer, _, problem, err := a.wait(ctx, s, waiting{
		what: "checkpoint " + id, look: "karborctl checkpoint show " + p.ProviderID + " " + id,
		operation: selection{kind: "protect", provider: p.ProviderID, checkpoint: id},
		status:    checkpointStatus(s, p.ProviderID, id),
		running:   func(status string) bool { return status == string(checkpoint.Protecting) },
		good:      string(checkpoint.Available),
	})
	if err != nil {
		return err
	}
	if err := a.print(answer, func() (*table.Table, error) { return checkpointFields(answer) }); err != nil {
		return err
	}
	return problem
}
