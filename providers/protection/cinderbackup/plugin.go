// SPDX-License-Identifier: Apache-2.0

// Package cinderbackup protects Cinder's volumes by backups that Cinder makes and
// keeps: full or incremental ones, of the volume or of a snapshot of it.
package cinderbackup

import (
	"context"
	"errors"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-volume-protection-plugin",
	protection.ClassPrefix + "volume.cinder_protection_plugin.CinderBackupProtectionPlugin",
}

const group = "cinder_backup_protection_plugin"

// Options are read from the provider file.
var Options = append(poll.ConfigOptions(group, "the status of volumes, snapshots and backups", 15*time.Second, poll.Week), config.Option{
	Group: group, Name: "backup_from_snapshot", Kind: config.Bool, Default: true,
	Help: "Make a backup of a temporary snapshot of the volume, not of the volume itself.",
})

// Config is the section of the provider file.
type Config struct {
	poll.Config
	FromSnapshot bool
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{Config: poll.FromConfig(cfg, group), FromSnapshot: cfg.Bool(group, "backup_from_snapshot")}
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	remote.Plugin[metadata]
	fromSnapshot bool
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients volume.Clients) *Plugin {
	p := &Plugin{fromSnapshot: cfg.FromSnapshot, Plugin: remote.Plugin[metadata]{
		Type:   resource.Volume,
		Frame:  hook.Frame{Title: "Volume Backup", Verified: "Volume Backup", Objects: []string{volume.PropertiesKey}, Schemas: schemas},
		Client: remote.NewClient(cfg.Config, clients.BlockStorage),

		Source: volume.Volumes, Usable: volume.Usable, Unusable: "Volume is in errorneous state",
		Describe: func(ctx context.Context, s *remote.Session) (metadata, error) {
			_, err := volume.Describe(ctx, s)
			return metadata{VolumeID: s.Call.Resource.ID}, err
		},
		Note:     func(about *metadata, backup *remote.Created) { about.BackupID = backup.ID },
		NoBackup: failReason,
		Kept: remote.Kept{
			Kind: volume.Backups, Key: "backup_id", Whole: "available",
			Missing: "Error getting volume backup.", Title: "volume backup",
		},
	}}
	p.Begin = p.begin
	return p
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Operation returns the hooks for one volume. Snapshots are taken before the Main hook
// of any resource begins, so that the snapshots of a server's volumes are taken at
// about the same time.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		o := &protection.Operation{Main: p.Frame.Protect(true, p.backUp, p.cleanBackUp), Undo: p.Frame.Delete(p.Begin.Undo)}
		if p.fromSnapshot {
			o.PrepareFinish = p.Frame.Protect(false, p.snapshot, p.cleanSnapshot)
		}
		return o, nil
	case protection.Restore:
		return &protection.Operation{Main: p.Frame.Restore(p.restore, p.undoRestore), Undo: p.Frame.UndoRestore(p.undoRestore), Plan: p.Frame.Plan(p.plan)}, nil
	}
	return p.Plugin.Operation(kind, r)
}

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: cinder_protection_plugin.py
type metadata struct {
	VolumeID string `json:"volume_id"`
	BackupID string `json:"backup_id"`
}

// begin returns the requests for the backup and for the snapshot that it is made of.
// cinder: POST /v3/{project}/backups, metadata since 3.43
func (p *Plugin) begin(ctx context.Context, c *protection.Call) ([]*remote.Request, error) {
	var state struct {
		Snapshot remote.Created `json:"snapshot"`
		Backup   remote.Created `json:"backup"`
	}
	s, err := p.Client.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	snapshot := volume.Copy(s, volume.Snapshots, &state.Snapshot)
	snapshot.Body["force"] = true
	backup := volume.Copy(s, volume.Backups, &state.Backup)
	backup.Ready = made
	mode, _ := c.Parameters.String("backup_mode")
	force, _ := c.Parameters.Bool("force")
	backup.Body = map[string]any{
		"volume_id":   c.Resource.ID,
		"name":        c.Parameters.Value("backup_name"),
		"description": c.Parameters.Value("description"),
		"container":   c.Parameters.Value("container"),
		"incremental": mode == "incremental",
		"force":       force,
		"snapshot_id": nil,
	}
	if id := state.Snapshot.ID; id != "" {
		backup.Body["snapshot_id"] = id
	}
	return []*remote.Request{backup, snapshot}, nil
}

// made are the statuses of a new backup.
var made = poll.Statuses{
	Success: []string{"available"},
	Failure: []string{"error", "error_deleting", "deleting", poll.NotFound},
	Ignore:  []string{"creating"},
}

// snapshot makes the snapshot that the backup is made of.
func (p *Plugin) snapshot(ctx context.Context, c *protection.Call) error {
	requests, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	snapshot := requests[1]
	err = snapshot.Create(ctx)
	if err == nil {
		err = snapshot.AwaitReady(ctx, c.Report)
	}
	if err != nil && protection.Handover(ctx, err) == nil {
		return &hook.Failure{Text: "Error creating snapshot for volume: " + hook.Reason(err), Err: err}
	}
	return err
}

func (p *Plugin) cleanSnapshot(ctx context.Context, c *protection.Call, _ error) error {
	requests, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return requests[1].Remove(ctx)
}

// backUp makes the backup, and removes the snapshot. From its first call for that
// there is no way back to what was there before the hook, so it does not end with
// ctx. The backup is worth more than the snapshot: one that stays is reported.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	if err := p.BackUp(ctx, c); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := hook.Finish(ctx, func(ctx context.Context) error { return p.cleanSnapshot(ctx, c, nil) })
	if err != nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, "the temporary snapshot", err)
		return nil
	}
	return err
}

// failReason finds out from Cinder why a backup failed.
func failReason(ctx context.Context, backup *remote.Request, err error) error {
	if !hook.Unfit(err) || errors.Is(err, poll.ErrDeadline) {
		return err
	}
	var told struct {
		FailReason string `json:"fail_reason"`
	}
	failed, showErr := backup.Show(ctx, volume.Backups, backup.Created.ID)
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
	if !errors.Is(failed, protection.ErrCancelled) {
		return p.Begin.Undo(ctx, c, "")
	}
	requests, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return requests[0].Remove(ctx)
}
