// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: cinder_protection_plugin.py
type metadata struct {
	VolumeID string `json:"volume_id"`
	BackupID string `json:"backup_id"`
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	Snapshot remote.Made `json:"snapshot"`
	Backup   remote.Made `json:"backup"`
}

// made are the statuses of a new backup.
var made = poll.Statuses{
	Success: []string{"available"},
	Failure: []string{"error", "error_deleting", "deleting", poll.NotFound},
	Ignore:  []string{"creating"},
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*remote.Service
	state    protectState
	snapshot remote.Order
	backup   remote.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	b := &protecting{Service: service}
	if err := c.LoadState(ctx, &b.state); err != nil {
		return nil, err
	}
	save := func() error { return c.SaveState(ctx, b.state) }
	b.snapshot, b.backup = orders(c)
	b.snapshot.Made, b.snapshot.Save = &b.state.Snapshot, save
	b.backup.Made, b.backup.Save = &b.state.Backup, save
	return b, nil
}

// orders returns those of the snapshot and of the backup.
func orders(c *protection.Call) (snapshot, backup remote.Order) {
	return volume.Of(c, volume.Snapshots), volume.Of(c, volume.Backups)
}

// snapshot makes the snapshot that the backup is made of.
func (p *Plugin) snapshot(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	b.snapshot.Body = map[string]any{"volume_id": c.Resource.ID, "force": true}
	err = b.Make(ctx, c, b.snapshot)
	if err == nil {
		err = b.Await(ctx, volume.Snapshots, b.state.Snapshot.ID, volume.Taken, c.Report)
	}
	if err != nil && protection.Handover(ctx, err) == nil {
		return &hook.Failure{Text: "Error creating snapshot for volume: " + hook.Reason(err), Err: err}
	}
	return err
}

func (p *Plugin) cleanSnapshot(ctx context.Context, c *protection.Call, _ error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.Remove(ctx, c, b.snapshot)
}

// backUp makes the backup and notes it in the bank.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Backup.Asked {
		if err := b.Await(ctx, volume.Volumes, c.Resource.ID, volume.Usable, nil); err != nil {
			return hook.Instead("Volume is in errorneous state", err)
		}
	}
	b.backup.Body = body(c, b.state.Snapshot.ID)
	if err := b.Make(ctx, c, b.backup); err != nil {
		return err
	}
	id := b.state.Backup.ID
	if err := b.Await(ctx, volume.Backups, id, made, c.Report); err != nil {
		return b.why(ctx, id, err)
	}
	if err := b.Spare(ctx, b.backup); err != nil {
		return err
	}
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, metadata{VolumeID: c.Resource.ID, BackupID: id}); err != nil {
		return err
	}
	return b.dropSnapshot(ctx, c)
}

// dropSnapshot removes the snapshot of a backup that is done. From its first call
// there is no way back to what was there before the hook, so it does not end with
// ctx. The backup is worth more than the snapshot: one that stays is reported.
func (b *protecting) dropSnapshot(ctx context.Context, c *protection.Call) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := hook.Finish(ctx, func(ctx context.Context) error { return b.Remove(ctx, c, b.snapshot) })
	if err != nil && protection.Handover(ctx, err) == nil {
		c.Logger().Warnf("after the backup of volume %s: %v", c.Resource.ID, err)
		return nil
	}
	return err
}

// body is the request for a backup.
// cinder: POST /v3/{project}/backups, metadata since 3.43
func body(c *protection.Call, snapshotID string) map[string]any {
	text := func(name string) any {
		if value, ok := c.Parameters.String(name); ok {
			return value
		}
		return nil
	}
	mode, _ := c.Parameters.String("backup_mode")
	force, _ := c.Parameters.Bool("force")
	request := map[string]any{
		"volume_id":   c.Resource.ID,
		"name":        text("backup_name"),
		"description": text("description"),
		"container":   text("container"),
		"incremental": mode == "incremental",
		"force":       force,
		"snapshot_id": nil,
	}
	if snapshotID != "" {
		request["snapshot_id"] = snapshotID
	}
	return request
}

// why finds out from Cinder why a backup failed.
func (b *protecting) why(ctx context.Context, id string, err error) error {
	if !hook.Unfit(err) || errors.Is(err, poll.ErrDeadline) {
		return err
	}
	var told struct {
		FailReason string `json:"fail_reason"`
	}
	failed, showErr := b.Show(ctx, volume.Backups, id)
	if showErr == nil {
		showErr = failed.Decode(&told)
	}
	if showErr != nil || told.FailReason == "" {
		return &hook.Failure{Text: "Unable to find backup", Err: err}
	}
	return &hook.Failure{Text: told.FailReason, Err: err}
}

// cleanBackUp removes the backup of a hook that has failed, and the snapshot,
// which the hook before has made. If the operation is cancelled the snapshot is
// left to Undo, whose business all hooks are.
func (p *Plugin) cleanBackUp(ctx context.Context, c *protection.Call, failed error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	err = b.Remove(ctx, c, b.backup)
	if errors.Is(failed, protection.ErrCancelled) {
		return err
	}
	return hook.Join(err, b.Remove(ctx, c, b.snapshot))
}

// unprotect takes a protect back.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call, _ string) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return hook.Join(b.Remove(ctx, c, b.backup), b.Remove(ctx, c, b.snapshot))
}

// kept is what is left of a protect.
var kept = remote.Backup{
	Kind: volume.Backups, Key: "backup_id", Whole: "available",
	Missing: "Error getting volume backup.", Title: "volume backup",
}

// remove deletes the backup that the metadata name, if there is any, and of a
// protect that was not finished all that it has made.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	snapshot, backup := orders(c)
	return p.cinder.Discard(ctx, c, was, kept, backup, snapshot)
}
