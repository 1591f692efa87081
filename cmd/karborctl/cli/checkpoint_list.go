// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

// listFlags select checkpoints.
type listFlags struct {
	plan, start, end, marker, sort string
	limit                          int
	allProjects                    bool
}

func (a *App) checkpointList() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use: "list PROVIDER", Short: "List checkpoints, the oldest first", Args: exactly("PROVIDER"),
		Long: "List checkpoints, the oldest first: those of the caller's project. An administrator can list those of\n" +
			"all projects (--all-projects) or of another one (--project ID).",
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.plan, "plan", "", "only checkpoints of the plan with this id")
	flags.StringVar(&f.start, "start", "", "only checkpoints made on this day (YYYY-MM-DD, UTC) or later")
	flags.StringVar(&f.end, "end", "", "only checkpoints made on this day (YYYY-MM-DD, UTC) or before")
	flags.IntVar(&f.limit, "limit", 0, "no more than this many (default: all)")
	flags.StringVar(&f.marker, "marker", "", "begin after the checkpoint with this id")
	flags.StringVar(&f.sort, "sort", "asc", "asc or desc, by the time of creation")
	flags.BoolVar(&f.allProjects, "all-projects", false, "checkpoints of all projects")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := notEmpty(cmd, "plan", "start", "end", "marker"); err != nil {
			return err
		}
		r, err := f.request(args[0])
		if err != nil {
			return err
		}
		return a.listCheckpoints(cmd, f, r)
	}
	return cmd
}

// firstDay begins a range that has only an end: the service takes none alone.
const firstDay = "1970-01-01"

func (f *listFlags) request(provider string) (client.Request, error) {
	if f.limit < 0 {
		return client.Request{}, usagef("--limit: want a number that is not negative")
	}
	if f.sort != "asc" && f.sort != "desc" {
		return client.Request{}, usagef("--sort: want asc or desc")
	}
	filters := map[string]any{}
	if f.plan != "" {
		filters["plan_id"] = f.plan
	}
	if f.end != "" && f.start == "" {
		f.start = firstDay
	}
	for name, day := range map[string]string{"start": f.start, "end": f.end} {
		if day == "" {
			continue
		}
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return client.Request{}, usagef("--%s: want a day such as 2026-01-31, got %q", name, day)
		}
		filters[name+"_date"] = day
	}
	args := map[string]any{"provider_id": provider, "marker": nil, "limit": nil,
		"sort_keys": []string{"created_at"}, "sort_dirs": []string{f.sort}, "filters": filters, "all_tenants": f.allProjects}
	if f.marker != "" {
		args["marker"] = f.marker
	}
	if f.limit > 0 {
		args["limit"] = f.limit
	}
	return client.Request{Method: "list_checkpoints", Args: args}, nil
}

// listCheckpoints gives --project its two meanings: without credentials it says
// who asks, an administrator asks with it for another project's.
func (a *App) listCheckpoints(cmd *cobra.Command, f listFlags, r client.Request) error {
	who := a.options.who
	project := who.Project
	if who.HasCredentials() {
		who.Project = ""
	}
	s, err := a.openAs(cmd.Context(), who)
	if err != nil {
		return err
	}
	defer a.close(s)
	if !s.caller.IsAdmin && (f.allProjects || project != "" && project != s.caller.ProjectID) {
		return errors.New("only an administrator can list the checkpoints of other projects (without credentials: --admin)")
	}
	if project != "" && s.caller.IsAdmin {
		r.Args["all_tenants"] = true
		r.Args["filters"].(map[string]any)["project_id"] = project
	}
	answer, err := s.Call(cmd.Context(), r)
	if err != nil {
		return err
	}
	return a.print(answer, func() (*table.Table, error) { return checkpointsTable(answer) })
}

func checkpointsTable(answer json.RawMessage) (*table.Table, error) {
	var views []checkpointView
	if err := decode(answer, &views); err != nil {
		return nil, err
	}
	t := table.New("id", "status", "created_at", "plan_name", "resources", "project_id")
	for _, v := range views {
		t.Add(v.ID, string(v.Status), v.CreatedAt, v.Plan.Name, strconv.Itoa(len(v.tree())), v.ProjectID)
	}
	return t, nil
}
