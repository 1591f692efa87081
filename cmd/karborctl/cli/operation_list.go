// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

// operationTypes are what --type takes. providers/protection: Kind
var operationTypes = []string{"protect", "restore", "verify", "delete", "copy"}

// operationFlags select operations.
type operationFlags struct {
	kind, provider, checkpoint, marker string
	limit                              int
	unfinished, allProjects            bool
}

func (a *App) operationList() *cobra.Command {
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
		return a.listOperations(cmd, f)
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

func (a *App) listOperations(cmd *cobra.Command, f operationFlags) error {
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
