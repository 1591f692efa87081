// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *App) verify() *cobra.Command {
	return a.reading(reading{action: "verify", noun: "verification", show: "show_verification", id: "verification_id"}, &cobra.Command{
		Use: "verify PROVIDER CHECKPOINT", Short: "Check that everything in a checkpoint is there",
		Example: `  karborctl verify PROVIDER CHECKPOINT --wait
  karborctl verify show ID`,
	})
}
