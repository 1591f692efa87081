// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

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

// instance is what is read of an instance.
type instance struct {
	Datastore json.RawMessage `json:"datastore"`
	Flavor    json.RawMessage `json:"flavor"`
	Volume    struct {
		Size *int `json:"size"`
	} `json:"volume"`
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	Backup remote.Made `json:"backup"`
}

// protecting is what a protect and its end begin with.
type protecting struct {
	*remote.Service
	state protectState
	order remote.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.trove.For(ctx)
	if err != nil {
		return nil, err
	}
	b := &protecting{Service: service, order: order(c)}
	if err := c.LoadState(ctx, &b.state); err != nil {
		return nil, err
	}
	b.order.Made = &b.state.Backup
	b.order.Save = func() error { return c.SaveState(ctx, b.state) }
	return b, nil
}

// order is that of the backup. Backups have no metadata and cannot be changed, so
// the description tells whose it is.
func order(c *protection.Call) remote.Order {
	mark := remote.Mark(c)
	return remote.Order{
		Kind:  backups,
		Ours:  func(i *remote.Item) bool { return strings.HasSuffix(i.Description, mark) },
		Query: url.Values{"instance_id": {c.Resource.ID}},
	}
}

// backUp makes the backup and notes it in the bank.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Backup.Asked {
		if err := b.Await(ctx, instances, c.Resource.ID, usable, nil); err != nil {
			return hook.Instead("Database instance is in a error status.", err)
		}
	}
	item, err := b.Show(ctx, instances, c.Resource.ID)
	if err != nil {
		return err
	}
	var is instance
	if err := item.Decode(&is); err != nil {
		return err
	}
	name, given := c.Parameters.String("backup_name")
	if !given || name == "" {
		name = "backup" + c.Resource.ID
	}
	description, _ := c.Parameters.String("description")
	b.order.Body = map[string]any{"name": name, "instance": c.Resource.ID, "description": remote.Described(c, description)}
	if err := b.Make(ctx, c, b.order); err != nil {
		return err
	}
	id := b.state.Backup.ID
	if err := b.Await(ctx, backups, id, taken, c.Report); err != nil {
		return why(err)
	}
	if err := b.Spare(ctx, b.order); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, metadata{
		InstanceID: c.Resource.ID, Datastore: is.Datastore, Flavor: is.Flavor, Size: is.Volume.Size, BackupID: id,
	})
}

// why words the end of the wait for a backup as the original does.
func why(err error) error {
	switch status := hook.StatusOf(err); {
	case status == poll.NotFound:
		return &hook.Failure{Text: "Unable to find backup.", Err: err}
	case status != "":
		return &hook.Failure{Text: "The status of backup is " + status, Err: err}
	}
	return err
}

func (p *Plugin) clean(ctx context.Context, c *protection.Call, _ error) error {
	return p.unprotect(ctx, c, "")
}

// unprotect takes a protect back.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call, _ string) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.Remove(ctx, c, b.order)
}

// kept is what is left of a protect.
var kept = remote.Backup{
	Kind: backups, Key: "backup_id", Whole: "COMPLETED",
	Missing: "Getting database backup fails.", Title: "database backup",
}

// remove deletes the backup that the metadata name, if there is any, and of a
// protect that was not finished what it has made.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	return p.trove.Discard(ctx, c, was, kept, order(c))
}
