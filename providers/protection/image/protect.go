// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: image_protection_plugin.py
type metadata struct {
	ResourceID string              `json:"resource_id"`
	ServerID   string              `json:"server_id,omitempty"`
	Image      *imagedata.Metadata `json:"image_metadata,omitempty"`
	Chunks     *imagedata.Count    `json:"chunks_num,omitempty"`
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*imagedata.Glance
	plugin *Plugin
	call   *protection.Call
	// serverID is the server whose snapshot is protected in place of the image, "" if
	// it is the image itself.
	serverID string
	state    protectState
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	// SnapshotID is the temporary image, if there was one.
	SnapshotID string `json:"snapshot_id,omitempty"`
	// Stored: data and metadata are in the bank, whole.
	Stored bool `json:"stored"`
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	b := &protecting{plugin: p, call: c}
	if p.cfg.ServerSnapshot {
		b.serverID = serverOf(c.Resource.ExtraInfo)
	}
	var err error
	if b.Glance, err = p.glance.For(ctx); err != nil {
		return nil, err
	}
	return b, c.LoadState(ctx, &b.state)
}

// backUp copies the image, or a snapshot of its server, into the bank. Run again, it
// writes the same objects again, unless it had come to the last of them.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Stored {
		if b.serverID != "" {
			err = b.snapshot(ctx)
		}
		if err == nil {
			err = b.store(ctx)
		}
		if err != nil {
			return err
		}
	}
	err = hook.Finish(ctx, b.dropSnapshot)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, fmt.Sprintf("the temporary image of server %s", b.serverID), err) // the backup is worth more
		return nil
	}
	return err
}

// store writes metadata, data, their manifest, and metadata with the number of data
// objects.
func (b *protecting) store(ctx context.Context) error {
	c, id := b.call, b.call.Resource.ID
	var temporary []string
	if b.serverID != "" {
		id, temporary = b.state.SnapshotID, b.call.Parameters.Names()
	}
	source, err := b.Active(ctx, id)
	if server := serverOf(c.Resource.ExtraInfo); server != "" && b.serverID == "" && hook.StatusOf(err) == poll.NotFound {
		return &hook.Failure{Text: fmt.Sprintf("The image that server %s was booted from was deleted, and enable_server_snapshot is off", server), Err: err}
	}
	if err != nil {
		return hook.Instead("The status of image is invalid.", err)
	}
	imagedata.RemarkUnkept(c, source, temporary...)
	b.remarkDisks()
	about := metadata{ResourceID: c.Resource.ID, ServerID: b.serverID, Image: &source.Metadata}
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	count, err := b.BackUp(ctx, c, source, b.plugin.cfg.ObjectSize)
	if err != nil {
		return err
	}
	about.Chunks = &count
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	b.state.Stored = true
	return c.SaveState(ctx, b.state)
}

// remarkDisks remarks the servers whose disks are not protected, for they are not in the
// image that they were booted from.
func (b *protecting) remarkDisks() {
	if b.plugin.cfg.ServerSnapshot || b.call.Graph == nil {
		return
	}
	for _, node := range b.call.Graph.Nodes() {
		if node.Type == resource.Server && has(node, b.call.Resource.Key()) {
			b.call.Remark(remark.Remark{Aspect: "disk of a server", Was: "what server " + node.ID + " has written to its disk", Is: "the image that it was booted from",
				Why: "enable_server_snapshot is off"})
		}
	}
}

// clean removes the temporary image of a protect that has failed.
func (p *Plugin) clean(ctx context.Context, c *protection.Call, _ error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.dropSnapshot(ctx)
}

// undoProtect takes a protect back: the temporary image of a run that died, and
// what is in the bank.
func (p *Plugin) undoProtect(ctx context.Context, c *protection.Call, was string) error {
	if err := p.clean(ctx, c, nil); err != nil {
		return err
	}
	return imagedata.Purge(ctx, c, was)
}

// whole finds data objects that are missing or not what was written, which a
// status cannot tell.
func whole(ctx context.Context, c *protection.Call) error {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	if about.Chunks == nil || about.Image == nil {
		return errors.New("The metadata of the image backup is not complete.") //nolint:staticcheck // shown to users
	}
	return imagedata.LookAtData(ctx, c, *about.Chunks, about.Image.Checksum)
}
