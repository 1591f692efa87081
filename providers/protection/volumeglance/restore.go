// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	volume.Restored
	// ImageID is the id of the temporary image. It is chosen before the image is
	// made: Glance takes it from the request.
	ImageID string `json:"image_id,omitempty"`
}

// restoring is what a restore begins with.
type restoring struct {
	*remote.Session
	glance *imagedata.Glance
	state  restoreState
	volume *remote.Request
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	r := &restoring{}
	var err error
	if r.Session, err = p.cinder.Begin(ctx, c, &r.state); err != nil {
		return nil, err
	}
	if r.glance, err = p.glance.For(ctx); err != nil {
		return nil, err
	}
	r.volume = r.state.Request(r.Session)
	return r, nil
}

// describe completes the request for the volume, but for its image.
func (r *restoring) describe(ctx context.Context, about metadata) error {
	r.volume.Body = map[string]any{"size": about.Size, "name": hook.RestoreName(r.Call)}
	return volume.Resemble(ctx, r.volume)
}

// plan says what restore is going to ask for.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return nil, err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := r.describe(ctx, about); err != nil {
		return nil, err
	}
	return r.volume.Plan(ctx)
}

// restore makes an image of what is in the bank, and a volume from the image.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	if !r.state.Volume.Asked {
		if err := p.image(ctx, r, about); err != nil {
			return "", err
		}
	}
	if err := r.describe(ctx, about); err != nil {
		return "", err
	}
	r.volume.Body["imageRef"] = r.state.ImageID
	err = r.volume.Create(ctx)
	id := r.state.Volume.ID
	if err != nil {
		return id, err
	}
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.volume.AwaitReady(ctx, nil); err != nil {
		return id, hook.Instead("Restored Volume is in erroneous state", err)
	}
	if err := r.volume.DeleteDuplicates(ctx); err != nil {
		return id, err
	}
	return id, r.dropImage(ctx)
}

// image creates the temporary image, unless an earlier run left a complete one. An
// incomplete image is replaced: an upload cannot be continued, and Glance never takes
// the id of a deleted image again.
func (p *Plugin) image(ctx context.Context, r *restoring, about metadata) error {
	if r.state.ImageID != "" {
		found, err := r.glance.Image(ctx, r.state.ImageID)
		if err != nil && !openstack.IsNotFound(err) {
			return err
		}
		if err == nil && found.Status == "active" && found.Holds(about.Image.Checksum) {
			return nil
		}
		if err := r.glance.Remove(ctx, r.state.ImageID); err != nil {
			return err
		}
	}
	r.state.ImageID = p.newID()
	if err := r.Save(); err != nil {
		return err
	}
	formats := imagedata.Metadata{DiskFormat: about.Image.DiskFormat, ContainerFormat: about.Image.ContainerFormat}
	if err := r.glance.Create(ctx, r.state.ImageID, "temporary_image_of_"+r.Call.Resource.ID, formats); err != nil {
		return err
	}
	err := r.glance.Restore(ctx, r.Call, r.state.ImageID, about.Chunks, about.Image.Checksum)
	return hook.Instead("Create temporary image failed", err)
}

// dropImage removes the temporary image of a volume that is restored, which
// matters more. A Glance whose storage made the volume as a clone may refuse.
func (r *restoring) dropImage(ctx context.Context) error {
	err := r.removeImage(ctx)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(r.Call, "the temporary image", err)
		return nil
	}
	return err
}

func (r *restoring) removeImage(ctx context.Context) error {
	if r.state.ImageID == "" {
		return nil
	}
	err := r.glance.Remove(ctx, r.state.ImageID)
	if err != nil {
		return &hook.Failure{Text: fmt.Sprintf("image %s is left behind: %s", r.state.ImageID, hook.Reason(err)), Err: err}
	}
	return nil
}

// undoRestore deletes the new volume and the image, as far as they have come.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	return hook.Join(r.volume.Remove(ctx), r.removeImage(ctx))
}
