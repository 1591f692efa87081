// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// What an action does.
const (
	backupAction  = "backup"
	restoreAction = "restore"
	removeAction  = "admin" // with remove_older_than
)

// Results of a job. The original waits for one that was aborted for ever.
// freezer-api: common/json_schemas.py
var (
	success = poll.Statuses{
		Success: []string{"success"}, Failure: []string{"fail", "aborted", poll.NotFound}, Ignore: []string{""}, IgnoreUnexpected: true,
	}
	ended = poll.Statuses{
		Success: []string{"success", "fail", "aborted", poll.NotFound}, Ignore: []string{""}, IgnoreUnexpected: true,
	}
)

// state is what a second run of an operation knows of the first.
type state struct {
	// Mark is the operation's own. It is a part of the description of its jobs,
	// and they are found by it.
	Mark string `json:"mark,omitempty"`
	// ClientID is the scheduler of a backup.
	ClientID string `json:"client_id,omitempty"`
	// Job is the operation's own job. Done reports that it has succeeded and that
	// its results are recorded.
	Job  remote.Created `json:"job"`
	Done bool           `json:"done,omitempty"`
	// Known are the volumes that Freezer had restored before the job of a restore, once
	// they are Listed.
	Known  []string `json:"known,omitempty"`
	Listed bool     `json:"listed,omitempty"`
	// Removal is the job that removes a backup, Removed that it has succeeded.
	Removal remote.Created `json:"removal"`
	Removed bool           `json:"removed,omitempty"`
}

// session is one operation on one volume.
type session struct {
	*api
	state state
	save  func() error
}

// suffix ends the description of a job of this operation.
func (s *session) suffix(what string) string { return fmt.Sprintf(" [%s %s]", what, s.state.Mark) }

// run makes a job from a document, unless an earlier run has made it, starts it
// unless it has begun, and waits until it has succeeded. created is a part of the
// state, text the beginning of the job's description.
func (s *session) run(ctx context.Context, created *remote.Created, document map[string]any, text, what string) error {
	fresh := false
	err := remote.Once(ctx, created, s.save, func(ctx context.Context) ([]remote.Created, error) {
		var found []remote.Created
		jobs, err := s.marked(ctx, what)
		for _, j := range jobs {
			found = append(found, remote.Created{ID: j.ID})
		}
		return found, err
	}, func(ctx context.Context) (remote.Created, error) {
		fresh = true
		runes := []rune(text)
		document["description"] = string(runes[:min(len(runes), 200)]) + s.suffix(what) // Freezer keeps 255
		id, err := s.create(ctx, document)
		return remote.Created{ID: id}, err
	})
	if err != nil {
		return err
	}
	var found *job
	if !fresh {
		if found, err = s.show(ctx, created.ID); err != nil {
			return err
		}
	}
	if found == nil || !found.begun() {
		if err := s.event(ctx, created.ID, "start"); err != nil {
			return err
		}
	}
	return hook.Instead("The status of freezer job is invalid.", s.await(ctx, created.ID, success))
}

// marked lists the jobs of this operation that do something.
func (s *session) marked(ctx context.Context, what string) ([]job, error) {
	return s.find(ctx, func(j *job) bool { return strings.HasSuffix(j.Description, s.suffix(what)) })
}

// earlier finds the job of an earlier run, and notes its id. It returns nil if
// there is none, or if it is gone.
func (s *session) earlier(ctx context.Context, created *remote.Created, what string) (*job, error) {
	if created.ID != "" {
		return s.show(ctx, created.ID)
	}
	if !created.Asked && !created.Uncertain {
		return nil, nil
	}
	found, err := s.marked(ctx, what)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	created.Asked, created.ID = true, found[0].ID
	return &found[0], s.save()
}

// end removes what is left of a job and its actions.
func (s *session) end(ctx context.Context, id string) error {
	if err := s.drop(ctx, id); err != nil {
		return &hook.Failure{Text: fmt.Sprintf("job %s is left behind: %s", id, hook.Reason(err)), Err: err}
	}
	return nil
}

// stop ends a job that may be at work, and tells whether it had succeeded.
func (s *session) stop(ctx context.Context, j *job) (succeeded bool, err error) {
	if j.begun() && !slices.Contains(ended.Success, j.Schedule.Result) {
		if err := s.event(ctx, j.ID, "abort"); err != nil {
			return false, err
		}
		if err := s.await(ctx, j.ID, ended); err != nil {
			return false, err
		}
		now, err := s.show(ctx, j.ID)
		if err != nil || now == nil {
			return false, err
		}
		j = now
	}
	return j.Schedule.Result == "success", nil
}

// retire stops the job of a backup and removes it, and what it has backed up.
func (s *session) retire(ctx context.Context, j *job) error {
	succeeded, err := s.stop(ctx, j)
	if err == nil && succeeded {
		document := map[string]any{"job_actions": j.Actions, "client_id": j.ClientID}
		err = s.removeBackup(ctx, document, j.Description)
	}
	if err != nil {
		return &hook.Failure{Text: fmt.Sprintf("job %s and its backup may be left behind: %s", j.ID, hook.Reason(err)), Err: err}
	}
	return s.end(ctx, j.ID)
}

// removeBackup runs a job that removes what the job of a document has backed up.
func (s *session) removeBackup(ctx context.Context, document map[string]any, text string) error {
	if !s.state.Removed {
		document, err := derived(document, removeAction, s.plugin.cfg.Storage)
		if err != nil {
			return err
		}
		if err := s.run(ctx, &s.state.Removal, document, text, removeAction); err != nil {
			if s.state.Removal.ID != "" && protection.Handover(ctx, err) == nil {
				return hook.Join(err, s.endLate(ctx, s.state.Removal.ID))
			}
			return err
		}
		s.state.Removed = true
		if err := s.save(); err != nil {
			return err
		}
	}
	return s.end(ctx, s.state.Removal.ID)
}

// endLate is end after a failure, in the time that is left for that.
func (s *session) endLate(ctx context.Context, id string) error {
	ctx, cancel := protection.Cleanup(ctx)
	defer cancel()
	return s.end(ctx, id)
}

// derived makes the document of a job that does another action with the backup of
// a job.
func derived(document map[string]any, what string, storage Storage) (map[string]any, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var copied struct {
		Actions  []action `json:"job_actions"`
		ClientID string   `json:"client_id"`
	}
	if err := json.Unmarshal(text, &copied); err != nil || len(copied.Actions) == 0 {
		return nil, &hook.Failure{Text: "The content of freezer job is invalid.", Err: err}
	}
	for i := range copied.Actions {
		a := &copied.Actions[i]
		a.ID = "" // another action gets another id
		if a.Action == nil {
			return nil, &hook.Failure{Text: "The content of freezer job is invalid."}
		}
		a.Action["action"] = what
		if what == removeAction {
			a.Action["remove_older_than"] = "-1"
		}
		storage.reveal(a.Action)
	}
	return map[string]any{"job_actions": copied.Actions, "client_id": copied.ClientID}, nil
}
