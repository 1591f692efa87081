// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// backUp runs the job of a backup and notes it in the bank.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !s.state.Done {
		if s.state.ClientID == "" {
			if s.state.ClientID, err = s.scheduler(ctx); err != nil {
				return err
			}
		}
		info := p.cfg.Storage.info(c, s.state.ClientID)
		document, err := p.document(info)
		if err != nil {
			return err
		}
		if err := s.run(ctx, &s.state.Job, document, info.Description, backupAction); err != nil {
			return err
		}
		text, err := json.Marshal(info)
		if err != nil {
			return err
		}
		if err := c.Section.PutJSON(ctx, protection.MetadataKey, metadata{JobID: s.state.Job.ID, Job: text}); err != nil {
			return err
		}
		s.state.Done = true
		if err := s.save(); err != nil {
			return err
		}
	}
	return s.finish(ctx, c)
}

// finish removes the job of an operation that has succeeded, which matters more.
func (s *session) finish(ctx context.Context, c *protection.Call) error {
	err := s.end(ctx, s.state.Job.ID)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, "the job of Freezer", err)
		return nil
	}
	return err
}

// document is what the job of a backup is made from, secrets included.
func (p *Plugin) document(info jobInfo) (map[string]any, error) {
	text, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	return derived(document, backupAction, p.cfg.Storage)
}

func (p *Plugin) cleanBackUp(ctx context.Context, c *protection.Call, _ error) error {
	return p.undoProtect(ctx, c, "")
}

// undoProtect takes a protect back, as far as it has come.
func (p *Plugin) undoProtect(ctx context.Context, c *protection.Call, _ string) error {
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	j, err := s.earlier(ctx, &s.state.Job, backupAction)
	switch {
	case err != nil:
		return err
	case j != nil:
		return s.retire(ctx, j)
	case !s.state.Done:
		return nil
	}
	info := p.cfg.Storage.info(c, s.state.ClientID)
	document, err := p.document(info)
	if err != nil {
		return err
	}
	return s.removeBackup(ctx, document, info.Description)
}

// remove deletes the backup that the metadata tells of, if there is any, and that
// of a protect that was not finished.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	var about metadata
	found, err := hook.Metadata(ctx, c, &about)
	if err != nil || !found && !hook.Unfinished(was) {
		return err
	}
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if found {
		document, text, err := about.document()
		if err != nil {
			return err
		}
		if err := s.removeBackup(ctx, document, text); err != nil {
			return err
		}
	}
	if !hook.Unfinished(was) {
		return nil
	}
	container := p.cfg.Storage.container(c)
	jobs, err := s.find(ctx, func(j *job) bool { return j.does(backupAction, c.Resource.ID, container) })
	failures := []error{err}
	for _, j := range jobs {
		failures = append(failures, s.retire(ctx, &j))
	}
	return hook.Join(failures...)
}

// document returns the job of a backup as the bank has it, and its description.
func (m *metadata) document() (map[string]any, string, error) {
	var document map[string]any
	if err := json.Unmarshal(m.Job, &document); err != nil || len(document) == 0 {
		return nil, "", &hook.Failure{Text: "The content of freezer job is invalid.", Err: err}
	}
	description, _ := document["description"].(string)
	return document, description, nil
}
