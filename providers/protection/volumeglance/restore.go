// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	// ImageID is that of the temporary image. It is chosen before the image is
	// made: Glance takes it from the request.
	ImageID string `json:"image_id,omitempty"`
}

// restoring is what a restore begins with.
type restoring struct {
	*remote.Service
	glance *glance
	state  restoreState
	save   func() error
	volume remote.Order
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	glance, err := p.glance(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoring{Service: service, glance: glance}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	r.save = func() error { return c.SaveState(ctx, r.state) }
	r.volume = r.state.Order(c, p.newID, r.save)
	return r, nil
}

// bring makes an image of what is in the bank, and a volume from the image.
func (p *Plugin) bring(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	if !r.state.Volume.Asked {
		if err := p.image(ctx, c, r, about); err != nil {
			return "", err
		}
	}
	r.volume.Body = map[string]any{"size": about.Size, "imageRef": r.state.ImageID, "name": name(c)}
	err = r.Make(ctx, c, r.volume)
	id := r.state.Volume.ID
	if err != nil {
		return id, err
	}
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.Await(ctx, volume.Volumes, id, volume.Created, nil); err != nil {
		return id, hook.Instead("Restored Volume is in erroneous state", err)
	}
	if err := r.Spare(ctx, r.volume); err != nil {
		return id, err
	}
	return id, r.dropImage(ctx, c)
}

func name(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return c.Checkpoint.ID() + "@" + c.Resource.ID
}

// image makes the temporary image, unless that of an earlier run is whole. One
// that is not is replaced: an upload cannot be continued, and Glance never takes
// the id of a deleted image again.
func (p *Plugin) image(ctx context.Context, c *protection.Call, r *restoring, about metadata) error {
	if r.state.ImageID != "" {
		found, err := r.glance.show(ctx, r.state.ImageID)
		if err != nil && !openstack.IsNotFound(err) {
			return err
		}
		if err == nil && found.Status == "active" && same(found, about) {
			return nil
		}
		if err := r.glance.remove(ctx, r.state.ImageID); err != nil {
			return err
		}
	}
	r.state.ImageID = p.newID()
	if err := r.save(); err != nil {
		return err
	}
	err := r.fill(ctx, c, about)
	for _, known := range []error{imagedata.ErrCount, imagedata.ErrChecksum} {
		if errors.Is(err, known) {
			return &hook.Failure{Text: known.Error(), Err: err}
		}
	}
	return hook.Instead("Create temporary image failed", err)
}

// fill makes the image and writes its data.
func (r *restoring) fill(ctx context.Context, c *protection.Call, about metadata) error {
	id := r.state.ImageID
	body := map[string]any{"id": id, "name": "temporary_image_of_" + c.Resource.ID}
	if about.Image.DiskFormat != nil {
		body["disk_format"] = *about.Image.DiskFormat
	}
	if about.Image.ContainerFormat != nil {
		body["container_format"] = *about.Image.ContainerFormat
	}
	if _, err := r.glance.Post(ctx, r.glance.ServiceURL("images"), body, nil, nil); err != nil {
		return fmt.Errorf("create image %s: %w", id, err)
	}
	transfer := imagedata.Transfer{Client: r.glance.ServiceClient, ImageID: id, Section: c.Section, Report: c.Report}
	if err := transfer.Load(ctx, about.Chunks, about.Image.Checksum); err != nil {
		return err
	}
	if err := r.glance.await(ctx, id); err != nil {
		return err
	}
	made, err := r.glance.show(ctx, id)
	if err != nil {
		return err
	}
	if !same(made, about) {
		return fmt.Errorf("%w: image %s has %s", imagedata.ErrChecksum, id, text(made.Checksum))
	}
	return nil
}

// same compares the checksums if both are known.
func same(i *image, about metadata) bool {
	if i.Checksum == nil || about.Image.Checksum == nil {
		return true
	}
	return strings.EqualFold(*i.Checksum, *about.Image.Checksum)
}

// dropImage removes the temporary image of a volume that is restored, which
// matters more. A Glance whose storage made the volume as a clone may refuse.
func (r *restoring) dropImage(ctx context.Context, c *protection.Call) error {
	err := r.removeImage(ctx)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		c.Logger().Warnf("after the restore of volume %s: %v", c.Resource.ID, err)
		return nil
	}
	return err
}

func (r *restoring) removeImage(ctx context.Context) error {
	if r.state.ImageID == "" {
		return nil
	}
	err := r.glance.remove(ctx, r.state.ImageID)
	if err != nil {
		return &hook.Failure{Text: fmt.Sprintf("image %s is left behind: %s", r.state.ImageID, hook.Reason(err)), Err: err}
	}
	return nil
}

func (p *Plugin) cleanRestore(ctx context.Context, c *protection.Call, _ error) error {
	return p.unrestore(ctx, c)
}

// unrestore deletes the new volume and the image, as far as they have come.
func (p *Plugin) unrestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	return hook.Join(r.Remove(ctx, c, r.volume), r.removeImage(ctx))
}
