// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func workerCommand(a *App) *cobra.Command {
	return holder("worker", "Who the workers are", workerListCommand(a))
}

// workerView is a worker as the workers show it.
type workerView struct {
	ID         string     `json:"id"`
	Host       string     `json:"host"`
	State      string     `json:"state"`
	SeenAt     *time.Time `json:"seen_at"`
	Operations int        `json:"operations"`
}

func workerListCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the workers that share operations", Args: exactly(),
		Long: "List the workers that share operations: whether each is up, down, or stopped in order, when it was seen last,\n" +
			"and how many operations it has that have not ended. Administrators may ask (without credentials: --admin).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, client.Request{Method: "list_workers", Version: operationsVersion}, workersTable)
		},
	}
}

func workersTable(answer json.RawMessage) (*table.Table, error) {
	var views []workerView
	if err := decode(answer, &views); err != nil {
		return nil, err
	}
	t := table.New("id", "host", "state", "seen_at", "operations")
	for _, v := range views {
		t.Add(v.ID, v.Host, v.State, moment(v.SeenAt), strconv.Itoa(v.Operations))
	}
	return t, nil
}
