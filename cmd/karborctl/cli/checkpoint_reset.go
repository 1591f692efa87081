// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func (a *App) checkpointReset() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use: "reset PROVIDER CHECKPOINT --state available|error", Short: "Write another status into a checkpoint",
		Long: "Write another status into a checkpoint that nobody works on. No data are touched: whether an available\n" +
			"checkpoint can be restored is then for the operator to know.",
		Args: exactly("PROVIDER", "CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if state != string(checkpoint.Available) && state != string(checkpoint.Error) {
				return usagef("--state: want available or error")
			}
			r := client.Request{Method: "reset_state",
				Args: map[string]any{"provider_id": args[0], "checkpoint_id": args[1], "state": state}}
			return a.ask(cmd, r, func(json.RawMessage) (*table.Table, error) {
				t := table.New("id", "status")
				t.Add(args[1], state)
				return t, nil
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "available or error")
	return cmd
}
