// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
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

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	// SnapshotID is the temporary image, if there was one.
	SnapshotID string `json:"snapshot_id,omitempty"`
	// Stored: data and metadata are in the bank, whole.
	Stored bool `json:"stored"`
}

// protect copies an image into the bank. Run again, it writes the same objects
// again, unless it had come to the last of them.
func (p *Plugin) protect(ctx context.Context, c *protection.Call) error {
	err := c.PutStatus(ctx, protection.StatusProtecting)
	if err == nil {
		err = c.Parameters.Check(schemas.Options)
	}
	if err == nil {
		err = p.back(ctx, c)
	}
	if err == nil {
		err = c.PutStatus(ctx, protection.StatusAvailable)
	}
	if err == nil {
		return nil
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	c.PutError(ctx)
	if fault.Is(err, "InvalidInput") {
		return err
	}
	err = protection.Because(ctx, err)
	return fault.CreateResourceFailed(title, reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
}

// back decides what is copied: the image, or a snapshot of its server.
func (p *Plugin) back(ctx context.Context, c *protection.Call) error {
	client, err := p.clients.Image(ctx)
	if err != nil {
		return err
	}
	var state protectState
	if err := c.LoadState(ctx, &state); err != nil {
		return err
	}
	serverID := p.server(c)
	if serverID == "" {
		if state.Stored {
			return nil
		}
		return p.copy(ctx, c, client, c.Resource.ID, metadata{ResourceID: c.Resource.ID}, &state)
	}
	if !state.Stored {
		err = p.backSnapshot(ctx, c, client, serverID, &state)
	}
	if protection.Handover(ctx, err) != nil {
		return err
	}
	sweepErr := p.tidy(ctx, c, client, serverID, state.SnapshotID, err)
	switch {
	case sweepErr == nil:
		return err
	case err == nil && ctx.Err() != nil:
		return protection.Because(ctx, sweepErr) // all is stored, but there is something to remove yet
	}
	c.Logger().Warnf("temporary image of server %s may be left behind: %v", serverID, sweepErr)
	return err
}

// tidy removes the temporary image, after a failure in the time that is left for
// that.
func (p *Plugin) tidy(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID, known string, failed error) error {
	if failed == nil {
		err := sweep(ctx, c, client, serverID, known)
		if ctx.Err() == nil || protection.HandedOver(ctx) {
			return err
		}
	}
	ctx, cancel := protection.Aftermath(ctx)
	defer cancel()
	return sweep(ctx, c, client, serverID, known)
}

// server returns the server whose snapshot is protected in place of the image,
// "" if it is the image itself.
func (p *Plugin) server(c *protection.Call) string {
	if !p.cfg.ServerSnapshot {
		return ""
	}
	return serverOf(c.Resource.ExtraInfo)
}

func (p *Plugin) backSnapshot(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID string, state *protectState) error {
	if err := p.snapshot(ctx, c, client, serverID, state); err != nil {
		return err
	}
	return p.copy(ctx, c, client, state.SnapshotID, metadata{ResourceID: c.Resource.ID, ServerID: serverID}, state)
}

// unprotect takes a protect back: the temporary image of a run that died, and
// what is in the bank.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call) error {
	if serverID := p.server(c); serverID != "" {
		var state protectState
		err := c.LoadState(ctx, &state)
		if err == nil {
			var client *gophercloud.ServiceClient
			if client, err = p.clients.Image(ctx); err == nil {
				err = sweep(ctx, c, client, serverID, state.SnapshotID)
			}
		}
		if again := protection.Handover(ctx, err); again != nil {
			return again
		}
		if err != nil {
			err = protection.Because(ctx, err)
			return fault.DeleteResourceFailed(title, reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
		}
	}
	return protection.Purge(title, imagedata.KnownObjects, imagedata.KnownManifest)(ctx, c)
}

// copy writes metadata, data, their manifest, and metadata with the number of data
// objects.
func (p *Plugin) copy(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, imageID string, about metadata, state *protectState) error {
	source, err := p.await(ctx, client, imageID)
	var status *poll.StatusError
	if errors.As(err, &status) || errors.Is(err, poll.ErrDeadline) {
		return &failure{"The status of image is invalid.", err}
	}
	if err != nil {
		return err
	}
	about.Image = &imagedata.Metadata{
		DiskFormat:      source.DiskFormat,
		ContainerFormat: source.ContainerFormat,
		Checksum:        source.Checksum,
	}
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	written := &imagedata.Manifest{}
	transfer := imagedata.Transfer{Client: client, ImageID: imageID, Section: c.Section, Manifest: written, Report: c.Report}
	count, err := transfer.Store(ctx, p.cfg.ObjectSize, source.Size, source.hash())
	if err != nil {
		return err
	}
	// A run before this one may have got further with a larger snapshot.
	err = c.DeleteObjects(ctx, imagedata.Prefix, func(key string) bool { return imagedata.Number(key) > count })
	if err != nil {
		return err
	}
	if err := written.Write(ctx, c.Section); err != nil {
		return err
	}
	chunks := imagedata.Count(count)
	about.Chunks = &chunks
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	state.Stored = true
	return c.SaveState(ctx, state)
}
