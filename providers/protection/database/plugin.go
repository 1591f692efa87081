// SPDX-License-Identifier: Apache-2.0

// Package database protects Trove's database instances by backups that Trove
// keeps.
package database

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	"karbor-database-protection-plugin",
	protection.ClassPrefix + "database.database_backup_plugin.DatabaseBackupProtectionPlugin",
}

const group = "database_backup_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the status of database instances and their backups", 15*time.Second, poll.Week)

// Clients makes Trove clients for the caller of a context.
type Clients interface {
	Database(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Trove::Instance.
type Plugin = remote.Plugin[metadata]

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, clients Clients) *Plugin {
	trove := remote.NewClient(cfg, clients.Database)
	return &Plugin{
		Type: resource.Database,
		Frame: hook.Frame{
			Title: "Database instance Backup", Protected: "Database Instance Backup", Verified: "Database backup", Schemas: schemas,
		},
		Client: trove,

		Source: instances, Usable: usable, Unusable: "Database instance is in a error status.",
		Begin:    func(ctx context.Context, c *protection.Call) ([]*remote.Request, error) { return begin(ctx, trove, c) },
		Describe: describe,
		Note:     func(about *metadata, backup *remote.Created) { about.BackupID = backup.ID },
		NoBackup: func(_ context.Context, _ *remote.Request, err error) error {
			return hook.InStatus("The status of backup is %s", "Unable to find backup.", err)
		},
		Kept: remote.Kept{
			Kind: backups, Key: "backup_id", Whole: "COMPLETED",
			Missing: "Getting database backup fails.", Title: "database backup",
		},

		BeginRestore: func(ctx context.Context, c *protection.Call) (*remote.Request, error) {
			return beginRestore(ctx, trove, c)
		},
		Fill:        fill,
		NotRestored: func(err error) error { return hook.Instead("Invalid status.", err) },
		Complete:    rename,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(poll.FromConfig(cfg, group), deps.Clients), nil
	})
}

// metadata is the object of that name in the bank, in the key order of the
// original. What Trove tells of datastore and flavor is kept as it is.
// karbor: database_backup_plugin.py
type metadata struct {
	InstanceID string          `json:"instance_id"`
	Datastore  json.RawMessage `json:"datastore"`
	Flavor     json.RawMessage `json:"flavor"`
	Size       *int            `json:"size"` // GiB; null if Trove has no volumes
	BackupID   string          `json:"backup_id"`
}

// begin returns the request for the backup. Backups have no metadata and cannot be
// changed, so the description tells whose one is.
func begin(ctx context.Context, trove *remote.Client, c *protection.Call) ([]*remote.Request, error) {
	var state struct {
		Backup remote.Created `json:"backup"`
	}
	s, err := trove.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	name, given := c.Parameters.String("backup_name")
	if !given || name == "" {
		name = "backup" + c.Resource.ID
	}
	description, _ := c.Parameters.String("description")
	return []*remote.Request{{
		Session: s, Kind: backups, Created: &state.Backup, Ready: taken,
		Matches: remote.DescribedFor(c), Query: url.Values{"instance_id": {c.Resource.ID}},
		Body: map[string]any{"name": name, "instance": c.Resource.ID, "description": remote.Described(c, description)},
	}}, nil
}

// unkept are attributes of an instance that no restore sets.
// trove: instance/views.py
var unkept = []string{"access", "configuration", "replicas", "replica_of", "locality", "region", "shared"}

func describe(ctx context.Context, s *remote.Session) (metadata, error) {
	id := s.Call.Resource.ID
	item, err := s.Show(ctx, instances, id)
	if err != nil {
		return metadata{}, err
	}
	var instance struct {
		Datastore json.RawMessage `json:"datastore"`
		Flavor    json.RawMessage `json:"flavor"`
		Volume    struct {
			Size *int `json:"size"`
		} `json:"volume"`
	}
	err = item.Decode(&instance)
	if err == nil {
		err = remote.RemarkUnkept(s.Call, item, remark.Remark{Aspect: "instance attributes"}, unkept...)
	}
	return metadata{InstanceID: id, Datastore: instance.Datastore, Flavor: instance.Flavor, Size: instance.Volume.Size}, err
}

// beginRestore returns the request for the new instance. An instance has nothing that
// could tell whose it is but its name: it is made under a name of this restore's
// own, and gets the name that the user wants when it is known by its id.
func beginRestore(ctx context.Context, trove *remote.Client, c *protection.Call) (*remote.Request, error) {
	var state struct {
		Mark     string         `json:"mark,omitempty"` // this restore's own
		Instance remote.Created `json:"instance"`
	}
	s, err := trove.Begin(ctx, c, &state)
	if err != nil {
		return nil, err
	}
	if state.Mark == "" {
		state.Mark = "karbor-restore-" + uuid.NewString() // saved before the instance is made
	}
	return &remote.Request{
		Session: s, Kind: instances, Created: &state.Instance, Ready: usable,
		Matches: func(i *remote.Item) bool { return i.Name == state.Mark },
		Body:    map[string]any{"name": state.Mark}, Called: hook.RestoreName(c),
	}, nil
}

// fill completes the request for an instance. The original does not name the
// datastore, which works for backups of Trove's default one only.
// trove: POST /v1.0/{project}/instances
func fill(_ context.Context, r *remote.Request, about metadata) error {
	var flavor struct {
		ID json.RawMessage `json:"id"` // a number in old versions
	}
	var datastore struct {
		Type    string `json:"type,omitempty"`
		Version string `json:"version,omitempty"`
	}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{about.Flavor, &flavor}, {about.Datastore, &datastore}} {
		if len(part.text) == 0 {
			continue
		}
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return &hook.Failure{Text: "The metadata of the backup is not readable.", Err: err}
		}
	}
	r.Body["flavorRef"], r.Body["restorePoint"] = flavor.ID, map[string]string{"backupRef": about.BackupID}
	chosen := func(name string) string {
		text, _ := r.Call.Parameters.String(name)
		return text
	}
	if id := chosen("restore_flavor_id"); id != "" {
		r.Body["flavorRef"] = id
	}
	if id := chosen("restore_net_id"); id != "" {
		r.Body["nics"] = []map[string]string{{"net-id": id}}
	}
	if zone := chosen("restore_availability_zone"); zone != "" {
		r.Body["availability_zone"] = zone
	}
	if about.Size != nil {
		volume := map[string]any{"size": *about.Size}
		if name := chosen("restore_volume_type"); name != "" {
			volume["type"] = name
		}
		r.Body["volume"] = volume
	}
	if datastore.Type != "" {
		r.Body["datastore"] = datastore
	}
	return nil
}

// rename gives an instance the name that the user wants.
// trove: PATCH /v1.0/{project}/instances/{id}, in all versions
func rename(ctx context.Context, r *remote.Request) error {
	id := r.Created.ID
	body := map[string]any{"instance": map[string]string{"name": hook.RestoreName(r.Call)}}
	_, err := r.Patch(ctx, r.ServiceURL("instances", url.PathEscape(id)), body, nil, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent},
	})
	if err != nil {
		return fmt.Errorf("renaming instance %s: %w", id, err)
	}
	return nil
}
