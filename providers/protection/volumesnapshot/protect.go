// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
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
	Snapshot volume.Made `json:"snapshot"`
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*volume.Service
	state    protectState
	snapshot volume.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	t := &protecting{Service: service, snapshot: order(c)}
	if err := c.LoadState(ctx, &t.state); err != nil {
		return nil, err
	}
	t.snapshot.Made = &t.state.Snapshot
	t.snapshot.Save = func() error { return c.SaveState(ctx, t.state) }
	return t, nil
}

func order(c *protection.Call) volume.Order {
	return volume.Order{Kind: volume.Snapshots, Marks: volume.MarksOf(c), VolumeID: c.Resource.ID}
}

// take makes the snapshot and notes it in the bank.
func (p *Plugin) take(ctx context.Context, c *protection.Call) error {
	t, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !t.state.Snapshot.Asked {
		if err := t.Await(ctx, volume.Volumes, c.Resource.ID, volume.Usable, nil); err != nil {
			return volume.Instead("Volume is in a error status.", err)
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
	switch status := volume.StatusOf(err); {
	case status == poll.NotFound:
		return &volume.Failure{Text: "Unable to find volume snapshot.", Err: err}
	case status != "":
		return &volume.Failure{Text: fmt.Sprintf("The status of snapshot is %s", status), Err: err}
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

// remove deletes the snapshot that the metadata names, if there is any, and that
// of a protect that was not finished.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	var about metadata
	if _, err := volume.Metadata(ctx, c, &about); err != nil {
		return err
	}
	if about.SnapshotID == "" && !volume.Unfinished(was) {
		return nil
	}
	service, err := p.cinder.For(ctx)
	if err != nil {
		return err
	}
	if about.SnapshotID != "" {
		if err := service.Delete(ctx, volume.Snapshots, about.SnapshotID); err != nil {
			return err
		}
	}
	if volume.Unfinished(was) {
		return service.Sweep(ctx, order(c))
	}
	return nil
}

// look asks Cinder for the snapshot.
func (p *Plugin) look(ctx context.Context, c *protection.Call) (status, reason string, err error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	service, err := p.cinder.For(ctx)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	snapshot, err := service.Show(ctx, volume.Snapshots, about.SnapshotID)
	switch {
	case err != nil:
		return protection.StatusError, "Getting volume backup fails.", err
	case snapshot.Status != "available":
		return snapshot.Status, fmt.Sprintf("The status of volume snapshot status is %s.", snapshot.Status), nil
	}
	return protection.StatusAvailable, "", nil
}
