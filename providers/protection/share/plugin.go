// SPDX-License-Identifier: Apache-2.0

// Package share protects Manila's shares by snapshots that Manila keeps.
package share

import (
	"context"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-share-protection-plugin",
	protection.ClassPrefix + "share.share_snapshot_plugin.ManilaSnapshotProtectionPlugin",
}

const group = "manila_snapshot_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the status of shares and their snapshots", 15*time.Second, poll.Day)

// Clients makes Manila clients for the caller of a context.
type Clients interface {
	Share(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Manila::Share.
type Plugin = remote.Plugin[metadata]

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, clients Clients) *Plugin {
	manila := remote.NewClient(cfg, clients.Share)
	return &Plugin{
		Type:   resource.Share,
		Frame:  hook.Frame{Title: "Share Snapshot", Verified: "Share snapshot", Objects: []string{propertiesKey}, Schemas: schemas},
		Client: manila,

		Source: shares, Usable: usable, Unusable: "Share is in a error status.",
		Begin:    func(ctx context.Context, c *protection.Call) ([]*remote.Request, error) { return begin(ctx, manila, c) },
		Describe: describe,
		Note:     func(about *metadata, snapshot *remote.Created) { about.SnapshotID = snapshot.ID },
		NoBackup: func(_ context.Context, _ *remote.Request, err error) error {
			return hook.InStatus("The status of snapshot is %s", "Unable to find snapshot.", err)
		},
		Kept: remote.Kept{
			Kind: snapshots, Key: "snapshot_id", Whole: "available",
			Missing: "Getting share snapshot fails.", Title: "share snapshot",
		},

		BeginRestore: func(ctx context.Context, c *protection.Call) (*remote.Request, error) {
			return beginRestore(ctx, manila, c)
		},
		Fill:        fill,
		NotRestored: func(err error) error { return hook.Instead("Invalid status.", err) },
		Complete:    allow,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(poll.FromConfig(cfg, group), deps.Clients), nil
	})
}

// metadata is the object of that name in the bank, in the key order of the
// original. karbor: share_snapshot_plugin.py
type metadata struct {
	ShareID        string  `json:"share_id"`
	Size           int     `json:"size"` // GiB
	ShareProto     string  `json:"share_proto"`
	ShareType      *string `json:"share_type"`
	ShareNetworkID *string `json:"share_network_id"`
	SnapshotID     string  `json:"snapshot_id"`
}

// begin returns the request for the snapshot. Snapshots have no metadata in the
// versions of Manila's API that all clouds have, so the description tells whose one is.
func begin(ctx context.Context, manila *remote.Client, c *protection.Call) ([]*remote.Request, error) {
	var state struct {
		Snapshot remote.Created `json:"snapshot"`
	}
	s, err := manila.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	description, _ := c.Parameters.String("description")
	force, _ := c.Parameters.Bool("force") // Manila takes it, and makes no difference of it
	return []*remote.Request{{
		Session: s, Kind: snapshots, Created: &state.Snapshot, Ready: taken,
		Matches: remote.DescribedFor(c), Query: url.Values{"share_id": {c.Resource.ID}},
		Body: map[string]any{
			"share_id": c.Resource.ID, "name": c.Parameters.Value("snapshot_name"),
			"description": remote.Described(c, description), "force": force,
		},
	}}, nil
}

// unkept are attributes of a share that no restore sets.
// manila: api-ref/source/shares.inc
var unkept = []string{"share_group_id", "replication_type", "mount_point_name"}

func describe(ctx context.Context, s *remote.Session) (metadata, error) {
	about := metadata{ShareID: s.Call.Resource.ID}
	share, err := s.Show(ctx, shares, s.Call.Resource.ID)
	if err != nil {
		return about, err
	}
	if err := share.Decode(&about); err != nil {
		return about, err
	}
	if err := keep(ctx, s, share); err != nil {
		return about, err
	}
	return about, remote.RemarkUnkept(s.Call, share, remark.Remark{Aspect: "share attributes"}, unkept...)
}

// beginRestore returns the request for the new share.
func beginRestore(ctx context.Context, manila *remote.Client, c *protection.Call) (*remote.Request, error) {
	var state struct {
		Mark  string         `json:"mark,omitempty"` // this restore's own
		Share remote.Created `json:"share"`
	}
	s, err := manila.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	if state.Mark == "" {
		state.Mark = uuid.NewString() // saved before the share is made
	}
	return &remote.Request{
		Session: s, Kind: shares, Created: &state.Share, Ready: created, Marks: remote.MarksOf(c).Restore(state.Mark),
	}, nil
}

func fill(ctx context.Context, r *remote.Request, about metadata) error {
	kept, err := read(ctx, r.Call)
	if err != nil {
		return err
	}
	// A snapshot has few shares, a project may have many.
	r.Query = url.Values{"snapshot_id": {about.SnapshotID}}
	r.Body = map[string]any{
		"name": hook.RestoreName(r.Call), "description": kept.Description, "snapshot_id": about.SnapshotID, "size": about.Size,
		"share_proto": about.ShareProto, "share_type": about.ShareType, "share_network_id": about.ShareNetworkID,
	}
	if len(kept.Metadata) > 0 {
		r.Body["metadata"] = remote.Marks(kept.Metadata)
	}
	if kept.Public {
		r.Body["is_public"] = true
		r.Concede = func(_ context.Context, refused error) error { return concede(r, refused) }
	}
	return nil
}
