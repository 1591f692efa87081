// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func operationCommand(a *App) *cobra.Command {
	cmd := holder("operation", "Look at what the workers do, and end it",
		operationListCommand(a), operationShowCommand(a), operationWatchCommand(a), operationCancelCommand(a))
	cmd.Long = "Look at what the workers do, and end it. Each checkpoint create, copy and delete, restore and verify is an\n" +
		"operation; its id is that of its row in operation_logs too. The workers must serve version " + operationsVersion + " of the interface."
	return cmd
}

func operationShowCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an operation and how far each of its resources is", Args: exactly("ID"),
		Long: "Show an operation, and below it a table of its resources: each with the hook that runs or ran last. Another\n" +
			"table has what is not as it was, if there is anything.\n" +
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
			return printOperation(a, answer)
		},
	}
}

// printOperation shows an operation, its resources, and what was remarked of them.
func printOperation(a *App, answer json.RawMessage) error {
	var o progress.Operation
	if err := decode(answer, &o); err != nil {
		return err
	}
	if err := a.print(answer, func() (*table.Table, error) { return operationFields(&o), nil }); err != nil {
		return err
	}
	if len(o.Resources) > 0 {
		if err := a.printBelow(resourceTable(&o)); err != nil {
			return err
		}
	}
	return a.printRemarks(answer)
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

func operationWatchCommand(a *App) *cobra.Command {
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
			return watch(cmd, a, s, args[0], progress.Succeeded)
		},
	}
}

// watch follows an operation and fails unless it ends as wanted.
func watch(cmd *cobra.Command, a *App, s *session, id, wanted string) error {
	answer, o, err := a.follow(cmd.Context(), s, "operation "+id, id)
	if err != nil {
		return known(err)
	}
	if err := printOperation(a, answer); err != nil {
		return err
	}
	if o.Status != wanted {
		return ended(o)
	}
	return nil
}

func operationCancelCommand(a *App) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "End an operation and remove what it has made", Args: exactly("ID"),
		Long: "End an operation: its hooks stop, and what it has made is removed. Without --wait the command only asks for\n" +
			"that. With it the command shows the progress; it fails if the operation came to another end first.",
		RunE: func(cmd *cobra.Command, args []string) error { return cancelOperation(cmd, a, args[0], wait) },
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended; that it was cancelled is the success then")
	return cmd
}

func cancelOperation(cmd *cobra.Command, a *App, id string, wait bool) error {
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
		return watch(cmd, a, s, id, progress.Cancelled)
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

// operationTypes are the values of --type. providers/protection: Kind
var operationTypes = []string{"protect", "restore", "verify", "delete", "copy"}

// operationFlags select operations.
type operationFlags struct {
	kind, provider, checkpoint, marker string
	limit                              int
	unfinished, allProjects            bool
}

func operationListCommand(a *App) *cobra.Command {
	var f operationFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List operations, the newest first", Args: exactly(),
		Long: "List operations, the newest first: those of the caller's project. An administrator can list those of all\n" +
			"projects (--all-projects). Operations that ended long ago are forgotten.",
		Example: `  karborctl operation list --unfinished
  karborctl operation list --type restore --checkpoint ID
  karborctl operation list --unfinished --all-projects -f value -c id -c status`,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.unfinished, "unfinished", false, "only those that have not ended")
	flags.StringVar(&f.kind, "type", "", "only those of this type: "+strings.Join(operationTypes, ", "))
	flags.StringVar(&f.provider, "provider", "", "only those of the provider with this id")
	flags.StringVar(&f.checkpoint, "checkpoint", "", "only those that make, read or delete the checkpoint with this id")
	flags.IntVar(&f.limit, "limit", 0, "no more than this many (default: as many as the worker gives, 1000)")
	flags.StringVar(&f.marker, "marker", "", "begin after the operation with this id")
	flags.BoolVar(&f.allProjects, "all-projects", false, "operations of all projects")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := notEmpty(cmd, "type", "provider", "checkpoint", "marker"); err != nil {
			return err
		}
		return listOperations(cmd, a, f)
	}
	return cmd
}

// request leaves out what is not asked for.
func (f *operationFlags) request() (client.Request, error) {
	if f.limit < 0 {
		return client.Request{}, usagef("--limit: want a number that is not negative")
	}
	if f.kind != "" && !slices.Contains(operationTypes, f.kind) {
		return client.Request{}, usagef("--type: want one of %s, got %q", strings.Join(operationTypes, ", "), f.kind)
	}
	args := map[string]any{"unfinished": f.unfinished, "all_tenants": f.allProjects}
	for name, value := range map[string]string{"operation_type": f.kind, "provider_id": f.provider,
		"checkpoint_id": f.checkpoint, "marker": f.marker} {
		if value != "" {
			args[name] = value
		}
	}
	if f.limit > 0 {
		args["limit"] = f.limit
	}
	return operationRequest("list_operations", args), nil
}

func listOperations(cmd *cobra.Command, a *App, f operationFlags) error {
	r, err := f.request()
	if err != nil {
		return err
	}
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	defer a.close(s)
	if f.allProjects && !s.caller.IsAdmin {
		return errors.New("only an administrator can list the operations of other projects (without credentials: --admin)")
	}
	answer, err := s.Call(cmd.Context(), r)
	if err != nil {
		return known(err)
	}
	return a.print(answer, func() (*table.Table, error) { return operationsTable(answer) })
}

func operationsTable(answer json.RawMessage) (*table.Table, error) {
	var all []progress.Operation
	if err := decode(answer, &all); err != nil {
		return nil, err
	}
	t := table.New("id", "type", "status", "created_at", "checkpoint_id", "project_id")
	for _, o := range all {
		t.Add(o.ID, o.Type, o.Status, moment(&o.CreatedAt), o.CheckpointID, o.ProjectID)
	}
	return t, nil
}
