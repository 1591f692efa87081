// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
)

func checkpointCommand(a *App) *cobra.Command {
	return holder("checkpoint", "Protect resources, and look after what was protected",
		checkpointCreateCommand(a), checkpointListCommand(a), checkpointShowCommand(a), checkpointDeleteCommand(a), checkpointPruneCommand(a), checkpointResetCommand(a), checkpointCopyCommand(a))
}

// checkpointView is a checkpoint as the workers show it.
type checkpointView struct {
	ID            string            `json:"id"`
	Status        checkpoint.Status `json:"status"`
	ProjectID     string            `json:"project_id"`
	CreatedAt     string            `json:"created_at"`
	Timestamp     int64             `json:"timestamp"` // since version 1.1
	ExtraInfo     json.RawMessage   `json:"extra_info"`
	ResourceGraph string            `json:"resource_graph"`
	Plan          struct {
		ID         string         `json:"id"`
		Name       string         `json:"name"`
		ProviderID string         `json:"provider_id"`
		Resources  []planResource `json:"resources"`
	} `json:"protection_plan"`
}

func checkpointShowCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "show PROVIDER CHECKPOINT", Short: "Show a checkpoint", Args: exactly("PROVIDER", "CHECKPOINT"),
		Long: "Show a checkpoint, and below it a table of what will not come back from it as it was, if there is anything.\n" +
			"With --column the fields of the checkpoint are shown alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer a.close(s)
			ids, err := s.resolve(cmd.Context(), args)
			if err != nil {
				return err
			}
			answer, err := s.showCheckpoint(cmd.Context(), ids[0], ids[1], false)
			if err != nil {
				return err
			}
			return a.printCheckpoint(answer)
		},
	}
}

func checkpointFields(answer json.RawMessage) (*table.Table, error) {
	var v checkpointView
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("id", v.ID)
	t.Add("status", string(v.Status))
	t.Add("created_at", v.CreatedAt)
	t.Add("project_id", v.ProjectID)
	t.Add("plan_id", v.Plan.ID)
	t.Add("plan_name", v.Plan.Name)
	t.Add("provider_id", v.Plan.ProviderID)
	t.Add("extra_info", textOf(v.ExtraInfo))
	for _, line := range v.tree() {
		t.Add("resource", line)
	}
	return t, nil
}

// tree shows what the checkpoint holds: each resource with its dependents
// below it, once. Until there is a graph it shows the resources of the plan.
func (v *checkpointView) tree() []string {
	var lines []string
	graph, err := resource.Unpack(v.ResourceGraph)
	if err != nil || graph.Len() == 0 {
		for _, r := range v.Plan.Resources {
			lines = append(lines, resourceLine(0, r.Type, r.ID, r.Name))
		}
		return lines
	}
	type step struct {
		node  *resource.Node
		depth int
	}
	var next []step // the last one first
	add := func(nodes []*resource.Node, depth int) {
		for _, n := range slices.Backward(nodes) {
			next = append(next, step{n, depth})
		}
	}
	shown := map[*resource.Node]bool{}
	for add(graph.Roots, 0); len(next) > 0; {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		if shown[at.node] {
			continue
		}
		shown[at.node] = true
		lines = append(lines, resourceLine(min(at.depth, deepest), at.node.Type, at.node.ID, at.node.Name))
		add(at.node.Children, at.depth+1)
	}
	return lines
}

// deepest is how far a line is indented at most: of a graph that is deeper, the
// blanks alone would be megabytes.
const deepest = 16

// resourceLine leaves out a name that only repeats the id.
func resourceLine(depth int, resourceType, id, name string) string {
	if name == id {
		name = ""
	}
	return strings.TrimRight(strings.Repeat("  ", depth)+resourceType+" "+id+" "+name, " ")
}

// checkpointStatus is a look at a checkpoint that is waited for.
func checkpointStatus(s *session, provider, id string) func(context.Context) (json.RawMessage, string, error) {
	return func(ctx context.Context) (json.RawMessage, string, error) {
		answer, err := s.showCheckpoint(ctx, provider, id, true)
		if err != nil {
			return nil, "", err
		}
		var v checkpointView
		err = decode(answer, &v)
		return answer, string(v.Status), err
	}
}

// listFlags select checkpoints.
type listFlags struct {
	plan, start, end, marker, sort string
	limit                          int
	allProjects                    bool
}

func checkpointListCommand(a *App) *cobra.Command {
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
		return listCheckpoints(cmd, a, f, args[0], r)
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

// listCheckpoints gives --project its two meanings: without credentials it names
// the caller's project, an administrator selects another project with it.
func listCheckpoints(cmd *cobra.Command, a *App, f listFlags, provider string, r client.Request) error {
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
	if r.Args["provider_id"], err = s.resolveProvider(cmd.Context(), provider); err != nil {
		return err
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

// createdBy marks checkpoints that no schedule has made.
// karbor: api/v1/providers.py, checkpoints_create
const createdBy = `{"created_by": "manual"}`

func checkpointCreateCommand(a *App) *cobra.Command {
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
	var noCheck bool
	plan.register(cmd)
	cmd.Flags().BoolVar(&noCheck, "no-check", false, "do not ask first whether the resources are there")
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until the checkpoint is made; its failure is the command's")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := plan.read(a.In, args[0])
		if err != nil {
			return err
		}
		if len(p.Resources) == 0 {
			return usagef("nothing to protect: --resource or --plan-file is missing")
		}
		return createCheckpoint(cmd, a, p, !noCheck, wait)
	}
	return cmd
}

func createCheckpoint(cmd *cobra.Command, a *App, p *plan, check, wait bool) error {
	ctx := cmd.Context()
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	if p.ProviderID, err = s.resolveProvider(ctx, p.ProviderID); err != nil {
		return err
	}
	if check {
		if err := s.checkResources(ctx, p.Resources); err != nil {
			return err
		}
	}
	p.ProjectID = s.caller.ProjectID
	r := client.Request{Method: "protect", Version: operationsVersion, Args: map[string]any{
		"plan": p, "checkpoint_properties": map[string]any{"extra_info": createdBy}}}
	id, err := a.begin(ctx, s, r, wait, [2]string{"plan_id", p.ID})
	if err != nil || !wait {
		return err
	}
	answer, _, problem, err := a.wait(ctx, s, &waiting{
		what: "checkpoint " + id, look: "karborctl checkpoint show " + p.ProviderID + " " + id,
		operation: selection{kind: "protect", provider: p.ProviderID, checkpoint: id},
		status:    checkpointStatus(s, p.ProviderID, id),
		running:   func(status string) bool { return status == string(checkpoint.Protecting) },
		good:      string(checkpoint.Available),
	})
	if err != nil {
		return err
	}
	if err := a.printCheckpoint(answer); err != nil {
		return err
	}
	return problem
}

func checkpointCopyCommand(a *App) *cobra.Command {
	var plan planFlags
	var wait bool
	cmd := &cobra.Command{
		Use: "copy PROVIDER --plan-id ID", Short: "Copy the available checkpoints of a plan",
		Long: "Copy the caller's available checkpoints of a plan. The resources are those of the plan; the plugin of\n" +
			"each must be able to copy. Without resources each checkpoint's own are copied.",
		Args: exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := plan.read(a.In, args[0])
			if err != nil {
				return err
			}
			if plan.id == "" && plan.file == "" {
				return usagef("--plan-id is missing")
			}
			return copyCheckpoints(cmd.Context(), a, p, wait)
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
func copyCheckpoints(ctx context.Context, a *App, p *plan, wait bool) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	if p.ProviderID, err = s.resolveProvider(ctx, p.ProviderID); err != nil {
		return err
	}
	answer, err := s.Call(ctx, client.Request{Method: "copy", Version: operationsVersion, Args: map[string]any{"plan": p}})
	if err != nil {
		return err
	}
	var pairs []pair
	if err := decode(answer, &pairs); err != nil {
		return err
	}
	if len(pairs) == 0 {
		return usagef("nothing to copy: no available checkpoint of plan %s holds resources", p.ID)
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
		status, problem, err := waitCopied(ctx, a, s, p.ProviderID, one.Copy)
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

func waitCopied(ctx context.Context, a *App, s *session, provider, id string) (status string, problem, err error) {
	_, status, problem, err = a.wait(ctx, s, &waiting{
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

func checkpointDeleteCommand(a *App) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "delete PROVIDER CHECKPOINT...", Short: "Delete checkpoints with their data",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("PROVIDER", "CHECKPOINT")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return deleteCheckpoints(cmd.Context(), a, args, wait)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until they are gone")
	return cmd
}

// deleteCheckpoints starts all deletions before it waits for the first, and
// goes on when one fails. It fails if any did.
func deleteCheckpoints(ctx context.Context, a *App, args []string, wait bool) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer a.close(s)
	if args, err = s.resolve(ctx, args); err != nil {
		return err
	}
	provider, ids := args[0], args[1:]
	var failures []error
	t := table.New("id", "status")
	started := make([]string, 0, len(ids))
	for _, id := range ids {
		if _, err := s.Call(ctx, deletion(provider, id)); err != nil {
			var refused *rpc.Failure
			if !errors.As(err, &refused) {
				return err
			}
			if len(ids) > 1 {
				err = aboutCheckpoint(id, err)
			}
			failures = append(failures, err)
			continue
		}
		started = append(started, id)
	}
	answers := make([]json.RawMessage, 0, len(started))
	for _, id := range started {
		answer, status := json.RawMessage("null"), string(checkpoint.Deleting)
		if wait {
			var problem error
			answer, status, problem, err = waitDeleted(ctx, a, s, provider, id)
			if err != nil {
				return err
			}
			failures = append(failures, problem)
		}
		t.Add(id, status)
		answers = append(answers, answer)
	}
	if err := printDeleted(a, t, answers); err != nil {
		return err
	}
	return errors.Join(failures...)
}

// aboutCheckpoint names the checkpoint when the worker's text does not.
func aboutCheckpoint(id string, err error) error {
	if strings.Contains(err.Error(), id) {
		return err
	}
	return fmt.Errorf("checkpoint %s: %w", id, err)
}

func printDeleted(a *App, t *table.Table, answers []json.RawMessage) error {
	if len(answers) == 0 {
		return nil
	}
	if !a.options.format.whole() {
		return a.print(nil, func() (*table.Table, error) { return t, nil })
	}
	for _, answer := range answers {
		if err := a.printWhole(answer); err != nil {
			return err
		}
	}
	return nil
}

// waitDeleted takes a checkpoint that cannot be found any more for a deleted
// one: the workers of the original remove its index too.
func waitDeleted(ctx context.Context, a *App, s *session, provider, id string) (answer json.RawMessage, status string, problem, err error) {
	look := checkpointStatus(s, provider, id)
	return a.wait(ctx, s, &waiting{
		what: "checkpoint " + id, look: "karborctl checkpoint show " + provider + " " + id,
		operation: selection{kind: "delete", provider: provider, checkpoint: id},
		status: func(ctx context.Context) (json.RawMessage, string, error) {
			answer, status, err := look(ctx)
			if errors.Is(err, &rpc.Failure{Class: "CheckpointNotFound"}) {
				return json.RawMessage("null"), string(checkpoint.Deleted), nil
			}
			return answer, status, err
		},
		running: func(status string) bool { return status == string(checkpoint.Deleting) },
		good:    string(checkpoint.Deleted),
	})
}

func checkpointResetCommand(a *App) *cobra.Command {
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
			var id string
			request := func(ids []string) client.Request {
				id = ids[1]
				return client.Request{Method: "reset_state", Args: map[string]any{"provider_id": ids[0], "checkpoint_id": id, "state": state}}
			}
			return a.askAbout(cmd, args, request, func(json.RawMessage) (*table.Table, error) {
				t := table.New("id", "status")
				t.Add(id, state)
				return t, nil
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "available or error")
	return cmd
}
