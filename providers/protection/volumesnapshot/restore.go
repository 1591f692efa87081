// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// restoring is what a restore begins with. Its state is about the new volume.
type restoring struct {
	*remote.Service
	state  volume.Restored
	volume remote.Order
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoring{Service: service}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	r.volume = r.state.Order(c, p.newID, func() error { return c.SaveState(ctx, r.state) })
	return r, nil
}

// bring makes a volume from the snapshot.
func (p *Plugin) bring(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	r.volume.Body = map[string]any{"size": about.Size, "snapshot_id": about.SnapshotID, "name": name(c)}
	if description, ok := c.Parameters.String("restore_description"); ok {
		r.volume.Body["description"] = description
	}
	err = r.Make(ctx, c, r.volume)
	id := r.state.Volume.ID
	if err != nil {
		return id, err
	}
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	err = r.Await(ctx, volume.Volumes, id, volume.Created, nil)
	if status := hook.StatusOf(err); status != "" {
		return id, &hook.Failure{Text: fmt.Sprintf("Invalid status: %s", status), Err: err}
	}
	if err != nil {
		return id, err
	}
	return id, r.Spare(ctx, r.volume)
}

func name(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return "volume-" + c.Checkpoint.ID() + "@" + c.Resource.ID
}

func (p *Plugin) cleanRestore(ctx context.Context, c *protection.Call, _ error) error {
	return p.unrestore(ctx, c)
}

// unrestore deletes the new volume, as far as it has come.
func (p *Plugin) unrestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	return r.Remove(ctx, c, r.volume)
}
