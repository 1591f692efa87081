// SPDX-License-Identifier: Apache-2.0

// Package volumesnapshot protects Cinder's volumes by snapshots of them. They lie
// where the volume does, and are gone with its storage; in return they take
// hardly any time.
package volumesnapshot

import (
	"context"
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
	"karbor-volume-snapshot-plugin",
	protection.ClassPrefix + "volume.volume_snapshot_plugin.VolumeSnapshotProtectionPlugin",
}

const group = "volume_snapshot_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the status of volumes and snapshots", 15*time.Second, poll.Day)

// Plugin protects OS::Cinder::Volume.
type Plugin = remote.Plugin[metadata]

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, clients volume.Clients) *Plugin {
	cinder := remote.NewClient(cfg, clients.BlockStorage)
	return &Plugin{
		Type:   resource.Volume,
		Frame:  hook.Frame{Title: "Volume Snapshot", Verified: "Volume snapshot", Objects: []string{volume.PropertiesKey}, Schemas: schemas},
		Client: cinder,

		Source: volume.Volumes, Usable: volume.Usable, Unusable: "Volume is in a error status.",
		Begin: func(ctx context.Context, c *protection.Call) ([]*remote.Request, error) { return begin(ctx, cinder, c) },
		Describe: func(ctx context.Context, s *remote.Session) (metadata, error) {
			_, err := volume.Describe(ctx, s)
			return metadata{VolumeID: s.Call.Resource.ID}, err
		},
		Note: func(about *metadata, snapshot *remote.Created) {
			about.SnapshotID, about.Size = snapshot.ID, snapshot.Size // the size that the volume had then
		},
		NoBackup: func(_ context.Context, _ *remote.Request, err error) error {
			return hook.InStatus("The status of snapshot is %s", "Unable to find volume snapshot.", err)
		},
		Kept: remote.Kept{
			Kind: volume.Snapshots, Key: "snapshot_id", Whole: "available",
			Missing: "Getting volume backup fails.", Title: "volume snapshot",
		},

		BeginRestore: func(ctx context.Context, c *protection.Call) (*remote.Request, error) {
			return beginRestore(ctx, cinder, c)
		},
		Fill: fill,
		NotRestored: func(err error) error {
			return hook.InStatus("Invalid status: %s", "Invalid status: "+poll.NotFound, err)
		},
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(poll.FromConfig(cfg, group), deps.Clients), nil
	})
}

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: volume_snapshot_plugin.py
type metadata struct {
	VolumeID   string `json:"volume_id"`
	Size       int    `json:"size"` // GiB
	SnapshotID string `json:"snapshot_id"`
}

// begin returns the request for the snapshot.
// cinder: POST /v3/{project}/snapshots
func begin(ctx context.Context, cinder *remote.Client, c *protection.Call) ([]*remote.Request, error) {
	var state struct {
		Snapshot remote.Created `json:"snapshot"`
	}
	s, err := cinder.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	r := volume.Copy(s, volume.Snapshots, &state.Snapshot)
	r.Ready.IgnoreUnexpected = true // as the original does
	r.Body["name"], r.Body["description"] = c.Parameters.Value("snapshot_name"), c.Parameters.Value("description")
	r.Body["force"], _ = c.Parameters.Bool("force")
	return []*remote.Request{r}, nil
}

// beginRestore returns the request for the new volume.
func beginRestore(ctx context.Context, cinder *remote.Client, c *protection.Call) (*remote.Request, error) {
	var state volume.Restored
	s, err := cinder.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	return state.Request(s), nil
}

func fill(ctx context.Context, r *remote.Request, about metadata) error {
	name, given := r.Call.Parameters.String("restore_name")
	if !given || name == "" {
		name = "volume-" + r.Call.Checkpoint.ID() + "@" + r.Call.Resource.ID
	}
	r.Body = map[string]any{"size": about.Size, "snapshot_id": about.SnapshotID, "name": name}
	if description, ok := r.Call.Parameters.String("restore_description"); ok {
		r.Body["description"] = description
	}
	return volume.Resemble(ctx, r)
}
