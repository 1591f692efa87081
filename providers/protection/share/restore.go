// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"net/url"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	Mark  string      `json:"mark,omitempty"` // this restore's own
	Share remote.Made `json:"share"`
}

// restoring is what a restore and its end begin with.
type restoring struct {
	*remote.Service
	state restoreState
	order remote.Order
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	service, err := p.manila.For(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoring{Service: service}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	if r.state.Mark == "" {
		r.state.Mark = p.newID() // saved before the share is made
	}
	r.order = remote.Order{
		Kind: shares, Marks: remote.MarksOf(c).Restore(r.state.Mark),
		Made: &r.state.Share, Save: func() error { return c.SaveState(ctx, r.state) },
	}
	return r, nil
}

// bring makes a new share of the snapshot and returns its id.
func (p *Plugin) bring(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	// Shares of one snapshot are few, those of a project may be many.
	r.order.Query = url.Values{"snapshot_id": {about.SnapshotID}}
	r.order.Body = map[string]any{
		"name": name(c), "description": nil, "snapshot_id": about.SnapshotID, "size": about.Size,
		"share_proto": about.ShareProto, "share_type": about.ShareType, "share_network_id": about.ShareNetworkID,
	}
	if err := r.Make(ctx, c, r.order); err != nil {
		return r.state.Share.ID, err
	}
	id := r.state.Share.ID
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.Await(ctx, shares, id, created, c.Report); err != nil {
		return id, hook.Instead("Invalid status.", err)
	}
	return id, r.Spare(ctx, r.order)
}

func name(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return c.Checkpoint.ID() + "@" + c.Resource.ID
}

func (p *Plugin) cleanRestore(ctx context.Context, c *protection.Call, _ error) error {
	return p.unrestore(ctx, c)
}

// unrestore deletes the new share, as far as it has come.
func (p *Plugin) unrestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	return r.Remove(ctx, c, r.order)
}
