// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	volume.Restored
	// Begun: Cinder has been, or is about to be, asked to restore.
	Begun bool `json:"begun,omitempty"`
	// Done: the volume holds what the backup does.
	Done bool `json:"done,omitempty"`
}

// Statuses of a backup that can be restored, and of a volume while one is
// restored into it.
var (
	restorable = poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", "error_deleting", "deleting", poll.NotFound},
		Ignore:  []string{"creating", "restoring"},
	}
	filled = poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", "error_restoring", "error_deleting", "deleting", poll.NotFound},
		Ignore:  []string{"creating", "restoring-backup", "downloading"},
	}
)

// restoring is what a restore begins with.
type restoring struct {
	*remote.Session
	state  restoreState
	volume *remote.Request
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	r := &restoring{}
	var err error
	if r.Session, err = p.Client.Begin(ctx, c, &r.state); err != nil {
		return nil, err
	}
	r.volume = r.state.Request(r.Session)
	return r, nil
}

// restore restores the backup into a new volume, or into the one that the user
// names. The volume is made here and not by Cinder's restore, which would give
// it no metadata to find it by: a run that gets no answer to a restore does not
// know whether it has begun, and does no harm when it asks once more, as long as
// it is the same volume.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	r, about, err := p.load(ctx, c)
	if err != nil {
		return "", err
	}
	id := target(c)
	if id == "" {
		if id, err = r.make(ctx, about.BackupID); err != nil {
			return id, err
		}
	}
	if r.state.Done {
		return id, nil
	}
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.fill(ctx, id, about.BackupID); err != nil {
		return id, err
	}
	if err := r.rename(ctx, c, id); err != nil {
		return id, err
	}
	r.state.Done = true
	return id, r.Save()
}

// load reads the metadata and begins a restore.
func (p *Plugin) load(ctx context.Context, c *protection.Call) (r *restoring, about metadata, err error) {
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return nil, about, err
	}
	for _, name := range c.Parameters.Names() {
		if _, added := volume.Added[name]; added && target(c) != "" {
			return nil, about, &hook.Failure{Text: name + " is for a new volume, and volume_id names one that is there"}
		}
	}
	r, err = p.beginRestore(ctx, c)
	return r, about, err
}

// plan says what restore is going to ask for.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	if err := p.Kept.Usable(ctx, p.Client, c); err != nil {
		return nil, err
	}
	r, about, err := p.load(ctx, c)
	if err != nil {
		return nil, err
	}
	if id := target(c); id != "" {
		is, err := r.Show(ctx, volume.Volumes, id)
		if err != nil {
			return nil, err
		}
		if is.Status != "available" {
			return nil, &hook.Failure{Text: fmt.Sprintf("The status of volume %s is %s", id, is.Status)}
		}
		return map[string]string{"volume_id": id}, nil
	}
	if err := r.describe(ctx, about.BackupID); err != nil {
		return nil, err
	}
	return r.volume.Plan(ctx)
}

// target returns the volume that the user wants the backup to be restored to.
func target(c *protection.Call) string {
	id, _ := c.Parameters.String("volume_id")
	return id
}

// description is the description of a restored volume unless another is wanted. The original has Cinder
// make the volume of a restore, and this is what Cinder calls it.
// cinder: backup/api.py restore
const description = "auto-created_from_restore_from_backup"

// describe completes the request for the volume.
func (r *restoring) describe(ctx context.Context, backupID string) error {
	backup, err := r.Show(ctx, volume.Backups, backupID)
	if err != nil {
		return err
	}
	r.volume.Body = map[string]any{"size": backup.Size, "name": hook.RestoreName(r.Call), "description": description}
	if description, ok := r.Call.Parameters.String("restore_description"); ok {
		r.volume.Body["description"] = description
	}
	return volume.Resemble(ctx, r.volume)
}

// make makes an empty volume of the backup's size.
func (r *restoring) make(ctx context.Context, backupID string) (string, error) {
	if r.state.Volume.ID == "" {
		if err := r.describe(ctx, backupID); err != nil {
			return "", err
		}
		if err := r.volume.Create(ctx); err != nil {
			return r.state.Volume.ID, err
		}
	}
	id := r.state.Volume.ID
	if r.state.Begun {
		return id, nil
	}
	if err := r.volume.AwaitReady(ctx, nil); err != nil {
		return id, hook.Instead("Error creating volume", err)
	}
	return id, r.volume.DeleteDuplicates(ctx)
}

// fill restores the backup into a volume, unless that goes on already.
func (r *restoring) fill(ctx context.Context, id, backupID string) error {
	goesOn := false
	if r.state.Begun {
		now, err := r.Show(ctx, volume.Volumes, id)
		if err != nil {
			return err
		}
		goesOn = now.Status == "restoring-backup"
	}
	if !goesOn {
		err := r.Await(ctx, volume.Backups, backupID, restorable, nil)
		if hook.Unfit(err) {
			return &hook.Failure{Text: fmt.Sprintf("The status of volume backup status is %s.", hook.StatusOf(err)), Err: err}
		}
		if err != nil {
			return err
		}
		r.state.Begun = true
		if err := r.Save(); err != nil {
			return err
		}
		body := map[string]any{"restore": map[string]any{"volume_id": id, "name": nil}}
		_, err = r.Post(ctx, r.ServiceURL("backups", url.PathEscape(backupID), "restore"), body, nil, &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusAccepted},
		})
		if err != nil {
			return fmt.Errorf("restoring backup %s: %w", backupID, err)
		}
	}
	return hook.Instead("Error creating volume", r.Await(ctx, volume.Volumes, id, filled, r.Call.Report))
}

// rename gives the user's own volume the name and description that were asked
// for, if any; a new one was made with them.
func (r *restoring) rename(ctx context.Context, c *protection.Call, id string) error {
	if target(c) == "" {
		return nil
	}
	change := map[string]any{}
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		change["name"] = name
	}
	if description, ok := c.Parameters.String("restore_description"); ok {
		change["description"] = description
	}
	if len(change) == 0 {
		return nil
	}
	_, err := r.Put(ctx, r.ServiceURL("volumes", url.PathEscape(id)), map[string]any{"volume": change}, nil, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK},
	})
	if err != nil {
		return fmt.Errorf("renaming volume %s: %w", id, err)
	}
	return nil
}

// undoRestore deletes the new volume, as far as it has come. What was in the user's
// own is gone; that is left alone once nothing is written to it any more.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	id := target(c)
	if id == "" {
		return r.volume.Remove(ctx)
	}
	if !r.state.Begun || r.state.Done {
		return nil
	}
	err = r.Await(ctx, volume.Volumes, id, filled, nil)
	if err != nil && hook.StatusOf(err) == "" {
		return &hook.Failure{Text: fmt.Sprintf("volume %s may be restored to still: %s", id, hook.Reason(err)), Err: err}
	}
	return nil
}
