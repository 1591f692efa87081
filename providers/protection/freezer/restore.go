// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"context"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// restore runs the job that restores the backup. Freezer is told the volume that was
// protected, and tells of no other: the resource is restored as itself.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	id := c.Resource.ID
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	document, text, err := about.document()
	if err != nil {
		return "", err
	}
	s, err := p.begin(ctx, c)
	if err != nil {
		return "", err
	}
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		text = name // the volume keeps its own
	}
	if !s.state.Done {
		if document, err = derived(document, restoreAction, p.cfg.Storage); err != nil {
			return "", err
		}
		if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
			return "", err
		}
		if err := s.run(ctx, &s.state.Job, document, text, restoreAction); err != nil {
			return id, err
		}
		s.state.Done = true
		if err := s.save(); err != nil {
			return id, err
		}
	}
	return id, s.finish(ctx, c)
}

// undoRestore ends the job. What it has written to the volume is not undone.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	j, err := s.earlier(ctx, &s.state.Job, restoreAction)
	if err != nil || j == nil {
		return err
	}
	if _, err := s.stop(ctx, j); err != nil {
		return &hook.Failure{Text: "job " + j.ID + " is left behind: " + hook.Reason(err), Err: err}
	}
	return s.end(ctx, j.ID)
}
