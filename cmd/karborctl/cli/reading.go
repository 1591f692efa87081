// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

// reading is what restores and verifications have in common: they read a
// checkpoint, and the worker keeps a record of how that goes.
type reading struct {
	action string // of execute_operation
	noun   string // "restore", "verification"
	show   string // the method that answers the record
	id     string // its argument
}

// recordNamespace is where the workers show records.
// manager: RecordNamespace
const recordNamespace = "records"

// readingDone is the status of a record that ended well; readingRunning that
// of one that has not ended. karbor: common/constants.py RESTORE_STATUS_*
const (
	readingRunning = "in_progress"
	readingDone    = "success"
)

// recordView is a record as the workers show it.
type recordView struct {
	ID           string            `json:"id"`
	Status       string            `json:"status"`
	ProjectID    string            `json:"project_id"`
	ProviderID   string            `json:"provider_id"`
	CheckpointID string            `json:"checkpoint_id"`
	Statuses     map[string]string `json:"resources_status"`
	Reasons      map[string]string `json:"resources_reason"`
}

// command gives cmd, which starts a reading, its flags and the command that shows the record.
func (r reading) command(a *App, cmd *cobra.Command) *cobra.Command {
	var texts []string
	var wait, dryRun bool
	cmd.Args = exactly("PROVIDER", "CHECKPOINT")
	cmd.Flags().StringArrayVar(&texts, "parameter", nil, parameterHelp)
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until it is done; its failure is the command's")
	if r.action == "restore" {
		cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be made of each resource and what would not be as it was, and change nothing")
		cmd.MarkFlagsMutuallyExclusive("wait", "dry-run")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := parseParameters(texts)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		s, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer a.close(s)
		ids, err := s.resolve(ctx, args)
		if err != nil {
			return err
		}
		if dryRun {
			return r.foretell(ctx, a, s, ids[0], ids[1], p)
		}
		return r.start(ctx, a, s, ids[0], ids[1], p, wait)
	}
	cmd.AddCommand(&cobra.Command{
		Use: "show ID", Short: "Show a " + r.noun, Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.ask(cmd, r.request(args[0]), recordFields) },
	})
	return cmd
}

func (r reading) request(id string) client.Request {
	return client.Request{Method: r.show, Namespace: recordNamespace, Args: map[string]any{r.id: id}}
}

// foretell shows what a restore would make. That a resource could not be restored is the
// failure of the command.
func (r reading) foretell(ctx context.Context, a *App, s *session, provider, checkpointID string, p parameters) error {
	request := r.execute(provider, checkpointID, p)
	request.Args["dry_run"] = true
	answer, err := s.Call(ctx, request)
	if err != nil {
		return err
	}
	var told struct {
		Resources []struct {
			Type  string            `json:"resource_type"`
			ID    string            `json:"resource_id"`
			Name  string            `json:"resource_name"`
			Makes map[string]string `json:"makes"`
			Error string            `json:"error"`
		} `json:"resources"`
	}
	if err := decode(answer, &told); err != nil {
		return err
	}
	t, failed := table.New("type", "id", "name", "makes", "error"), 0
	for _, one := range told.Resources {
		var makes []string
		for _, name := range slices.Sorted(maps.Keys(one.Makes)) {
			makes = append(makes, name+"="+one.Makes[name])
		}
		t.Add(one.Type, one.ID, one.Name, strings.Join(makes, " "), one.Error)
		if one.Error != "" {
			failed++
		}
	}
	if err := a.print(answer, func() (*table.Table, error) { return t, nil }); err != nil {
		return err
	}
	if err := a.printRemarks(answer); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d resources could not be restored", failed, len(told.Resources))
	}
	return nil
}

// execute is the request for a reading.
func (r reading) execute(provider, checkpointID string, p parameters) client.Request {
	return client.Request{Method: "execute_operation", Version: operationsVersion, Args: map[string]any{
		"backup_plan": map[string]any{"provider_id": provider, "checkpoint_id": checkpointID, "parameters": p},
		"action":      r.action}}
}

func (r reading) start(ctx context.Context, a *App, s *session, provider, checkpointID string, p parameters, wait bool) error {
	id, err := a.begin(ctx, s, r.execute(provider, checkpointID, p), wait)
	if err != nil || !wait {
		return err
	}
	w := &waiting{
		what: r.noun + " " + id, look: "karborctl " + r.action + " show " + id,
		operation: selection{kind: r.action, provider: provider, checkpoint: checkpointID, record: id},
		status:    r.status(s, id),
		running:   func(status string) bool { return status == readingRunning },
		good:      readingDone,
	}
	answer, _, problem, err := a.wait(ctx, s, w)
	if err != nil {
		return err
	}
	if w.ended != nil {
		if answer, err = withRemarks(answer, w.ended.Remarked); err != nil {
			return err
		}
	}
	if err := a.print(answer, func() (*table.Table, error) { return recordFields(answer) }); err != nil {
		return err
	}
	if err := a.printRemarks(answer); err != nil {
		return err
	}
	return problem
}

// status is a look at a record that is waited for.
func (r reading) status(s *session, id string) func(context.Context) (json.RawMessage, string, error) {
	look := r.request(id)
	look.Patient = true
	return func(ctx context.Context) (json.RawMessage, string, error) {
		answer, err := s.Call(ctx, look)
		if err != nil {
			return nil, "", err
		}
		var v recordView
		err = decode(answer, &v)
		return answer, v.Status, err
	}
}

func recordFields(answer json.RawMessage) (*table.Table, error) {
	var v recordView
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("id", v.ID)
	t.Add("status", v.Status)
	t.Add("project_id", v.ProjectID)
	t.Add("provider_id", v.ProviderID)
	t.Add("checkpoint_id", v.CheckpointID)
	for _, key := range slices.Sorted(maps.Keys(v.Statuses)) {
		line := key + " " + v.Statuses[key]
		if reason := v.Reasons[key]; reason != "" {
			line += ": " + reason
		}
		t.Add("resource", line)
	}
	return t, nil
}

func restoreCommand(a *App) *cobra.Command {
	return reading{action: "restore", noun: "restore", show: "show_restore", id: "restore_id"}.command(a, &cobra.Command{
		Use: "restore PROVIDER CHECKPOINT", Short: "Bring the resources of a checkpoint back, as new ones",
		Example: `  karborctl restore PROVIDER CHECKPOINT --wait
  karborctl restore PROVIDER CHECKPOINT --parameter volume:restore_name=copy
  karborctl restore PROVIDER CHECKPOINT --dry-run
  karborctl restore show ID`,
	})
}

func verifyCommand(a *App) *cobra.Command {
	return reading{action: "verify", noun: "verification", show: "show_verification", id: "verification_id"}.command(a, &cobra.Command{
		Use: "verify PROVIDER CHECKPOINT", Short: "Check that everything in a checkpoint is there",
		Example: `  karborctl verify PROVIDER CHECKPOINT --wait
  karborctl verify show ID`,
	})
}
