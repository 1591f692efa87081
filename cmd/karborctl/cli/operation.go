// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func (a *App) operation() *cobra.Command {
	cmd := holder("operation", "Look at what the workers do, and end it",
		a.operationList(), a.operationShow(), a.operationWatch(), a.operationCancel())
	cmd.Long = "Look at what the workers do, and end it. Each checkpoint create, copy and delete, restore and verify is an\n" +
		"operation; its id is that of its row in operation_logs too. The workers must serve version " + operationsVersion + " of the interface."
	return cmd
}

func (a *App) operationShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an operation and how far each of its resources is", Args: exactly("ID"),
		Long: "Show an operation, and below it a table of its resources: each with the hook that runs or ran last.\n" +
			"With --column the fields of the operation are shown alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer a.close(s)
			answer, err := s.Call(cmd.Context(), showOperation(args[0]))
			if err != nil {
				return known(err)
			}
			return a.printOperation(answer)
		},
	}
}

// printOperation shows an operation and its resources.
func (a *App) printOperation(answer json.RawMessage) error {
	var o progress.Operation
	if err := decode(answer, &o); err != nil {
		return err
	}
	if err := a.print(answer, func() (*table.Table, error) { return operationFields(&o), nil }); err != nil {
		return err
	}
	if a.options.format == formatJSON || len(a.options.columns) > 0 || len(o.Resources) == 0 {
		return nil
	}
	if a.options.format == formatTable {
		if _, err := fmt.Fprintln(a.Out); err != nil {
			return err
		}
	}
	return a.print(answer, func() (*table.Table, error) { return resourceTable(&o), nil })
}

func operationFields(o *progress.Operation) *table.Table {
	t := table.NewFields()
	t.Add("id", o.ID)
	t.Add("type", o.Type)
	t.Add("status", o.Status)
	t.Add("position", number(o.Position))
	t.Add("project_id", o.ProjectID)
	t.Add("provider_id", o.ProviderID)
	t.Add("checkpoint_id", o.CheckpointID)
	t.Add("plan_id", o.PlanID)
	t.Add("record_id", o.RecordID)
	t.Add("owner", o.Owner)
	t.Add("generation", strconv.FormatInt(o.Generation, 10))
	t.Add("created_at", moment(&o.CreatedAt))
	t.Add("started_at", moment(o.StartedAt))
	t.Add("ended_at", moment(o.EndedAt))
	t.Add("cancelled_by", o.CancelledBy)
	t.Add("reason", o.Reason)
	return t
}

func resourceTable(o *progress.Operation) *table.Table {
	t := table.New("type", "id", "hook", "state", "percent", "hooks", "started_at", "ended_at", "error")
	for i := range o.Resources {
		r := &o.Resources[i]
		t.Add(r.Type, r.ID, r.Hook, r.State, number(r.Percent), r.Steps(), moment(r.StartedAt), moment(r.EndedAt), r.Error)
	}
	return t
}

// number leaves out the zero of what is not known.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// moment is a time in UTC, or nothing.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (a *App) operationWatch() *cobra.Command {
	return &cobra.Command{
		Use: "watch ID", Short: "Show the progress of an operation until it ends", Args: exactly("ID"),
		Long: "Show the progress of an operation until it ends, and then the operation. That it failed or was cancelled is\n" +
			"the failure of the command; to stop watching does not stop the operation.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer a.close(s)
			return a.watch(cmd, s, args[0], progress.Succeeded)
		},
	}
}

// watch follows an operation and fails unless it ends as wanted.
func (a *App) watch(cmd *cobra.Command, s *session, id, wanted string) error {
	answer, o, err := a.follow(cmd.Context(), s, "operation "+id, id)
	if err != nil {
		return known(err)
	}
	if err := a.printOperation(answer); err != nil {
		return err
	}
	if o.Status != wanted {
		return ended(o)
	}
	return nil
}

func (a *App) operationCancel() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "End an operation and remove what it has made", Args: exactly("ID"),
		Long: "End an operation: its hooks stop, and what it has made is removed. Without --wait the command only asks for\n" +
			"that. With it the command shows the progress; it fails if the operation came to another end first.",
		RunE: func(cmd *cobra.Command, args []string) error { return a.cancelOperation(cmd, args[0], wait) },
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended; that it was cancelled is the success then")
	return cmd
}

func (a *App) cancelOperation(cmd *cobra.Command, id string, wait bool) error {
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	defer a.close(s)
	answer, err := s.Call(cmd.Context(), cancelRequest(id))
	if err != nil {
		return known(err)
	}
	if wait {
		return a.watch(cmd, s, id, progress.Cancelled)
	}
	return a.print(answer, func() (*table.Table, error) {
		t := table.New("id", "status")
		t.Add(id, "cancelling")
		return t, nil
	})
}

func cancelRequest(id string) client.Request {
	return operationRequest("cancel_operation", map[string]any{"operation_id": id})
}
