// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *App) restore() *cobra.Command {
	return a.reading(reading{action: "restore", noun: "restore", show: "show_restore", id: "restore_id"}, &cobra.Command{
		Use: "restore PROVIDER CHECKPOINT", Short: "Bring the resources of a checkpoint back, as new ones",
		Example: `  karborctl restore PROVIDER CHECKPOINT --wait
  karborctl restore PROVIDER CHECKPOINT --parameter volume:restore_name=copy
  karborctl restore show ID`,
	})
}
