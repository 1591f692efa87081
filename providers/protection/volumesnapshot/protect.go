// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: volume_snapshot_plugin.py
type metadata struct {
	VolumeID   string `json:"volume_id"`
	Size       int    `json:"size"` // GiB
	SnapshotID string `json:"snapshot_id"`
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	Snapshot remote.Made `json:"snapshot"`
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*remote.Service
	state    protectState
	snapshot remote.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	t := &protecting{Service: service, snapshot: volume.Of(c, volume.Snapshots)}
	if err := c.LoadState(ctx, &t.state); err != nil {
		return nil, err
	}
	t.snapshot.Made = &t.state.Snapshot
	t.snapshot.Save = func() error { return c.SaveState(ctx, t.state) }
	return t, nil
}

// take makes the snapshot and notes it in the bank.
func (p *Plugin) take(ctx context.Context, c *protection.Call) error {
	t, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !t.state.Snapshot.Asked {
		if err := t.Await(ctx, volume.Volumes, c.Resource.ID, volume.Usable, nil); err != nil {
			return hook.Instead("Volume is in a error status.", err)
		}
	}
	t.snapshot.Body = body(c)
	if err := t.Make(ctx, c, t.snapshot); err != nil {
		return err
	}
	id := t.state.Snapshot.ID
	taken := volume.Taken
	taken.IgnoreUnexpected = true // as the original does
	if err := t.Await(ctx, volume.Snapshots, id, taken, c.Report); err != nil {
		return why(err)
	}
	if err := t.Spare(ctx, t.snapshot); err != nil {
		return err
	}
	// The size is that which the volume had then.
	return c.Section.PutJSON(ctx, protection.MetadataKey, metadata{VolumeID: c.Resource.ID, Size: t.state.Snapshot.Size, SnapshotID: id})
}

// body is the request for a snapshot.
// cinder: POST /v3/{project}/snapshots
func body(c *protection.Call) map[string]any {
	request := map[string]any{"volume_id": c.Resource.ID, "name": nil, "description": nil}
	if name, ok := c.Parameters.String("snapshot_name"); ok {
		request["name"] = name
	}
	if description, ok := c.Parameters.String("description"); ok {
		request["description"] = description
	}
	request["force"], _ = c.Parameters.Bool("force")
	return request
}

func why(err error) error {
	switch status := hook.StatusOf(err); {
	case status == poll.NotFound:
		return &hook.Failure{Text: "Unable to find volume snapshot.", Err: err}
	case status != "":
		return &hook.Failure{Text: fmt.Sprintf("The status of snapshot is %s", status), Err: err}
	}
	return err
}

func (p *Plugin) cleanTake(ctx context.Context, c *protection.Call, _ error) error {
	return p.unprotect(ctx, c, "")
}

// unprotect takes a protect back.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call, _ string) error {
	t, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return t.Remove(ctx, c, t.snapshot)
}

// kept is what is left of a protect.
var kept = remote.Backup{
	Kind: volume.Snapshots, Key: "snapshot_id", Whole: "available",
	Missing: "Getting volume backup fails.", Title: "volume snapshot",
}

// remove deletes the snapshot that the metadata name, if there is any, and that
// of a protect that was not finished.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	return p.cinder.Discard(ctx, c, was, kept, volume.Of(c, volume.Snapshots))
}
