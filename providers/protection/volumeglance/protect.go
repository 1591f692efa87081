// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// protectState is what a second run of a protect knows of the first. All but what
// is Stored is temporary.
type protectState struct {
	Snapshot remote.Made `json:"snapshot"`
	Volume   remote.Made `json:"volume"`
	Image    remote.Made `json:"image"`
	// Stored: data and metadata are in the bank, whole.
	Stored bool `json:"stored,omitempty"`
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*remote.Service
	glance   *glance
	state    protectState
	save     func() error
	snapshot remote.Order
	volume   remote.Order
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	service, err := p.cinder.For(ctx)
	if err != nil {
		return nil, err
	}
	glance, err := p.glance(ctx)
	if err != nil {
		return nil, err
	}
	b := &protecting{Service: service, glance: glance}
	if err := c.LoadState(ctx, &b.state); err != nil {
		return nil, err
	}
	b.save = func() error { return c.SaveState(ctx, b.state) }
	b.snapshot, b.volume = volume.Of(c, volume.Snapshots), volume.New(remote.MarksOf(c).Temporary())
	b.snapshot.Made, b.snapshot.Save = &b.state.Snapshot, b.save
	b.volume.Made, b.volume.Save = &b.state.Volume, b.save
	return b, nil
}

// backUp copies the volume into the bank, by way of a snapshot of it, a volume
// made from that, and an image made from that. Whatever comes of it, these are
// removed.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Stored {
		if err := p.store(ctx, c, b); err != nil {
			return err
		}
		b.state.Stored = true
		if err := b.save(); err != nil {
			return err
		}
	}
	err = b.tidy(ctx, c)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		c.Logger().Warnf("after the backup of volume %s: %v", c.Resource.ID, err) // the backup is worth more than these
		return nil
	}
	return err
}

func (p *Plugin) store(ctx context.Context, c *protection.Call, b *protecting) error {
	if !b.state.Snapshot.Asked && !b.state.Image.Asked {
		err := b.Await(ctx, volume.Volumes, c.Resource.ID, volume.Usable, nil)
		if err != nil {
			return hook.Instead("Volume is in erroneous state", err)
		}
	}
	source, size, err := c.Resource.ID, 0, error(nil)
	if p.cfg.FromSnapshot {
		source, size, err = b.fork(ctx, c)
	} else {
		size, err = b.size(ctx, source)
	}
	if err != nil {
		return err
	}
	if err := b.upload(ctx, c, source, imageName(c, b.state)); err != nil {
		return err
	}
	return p.copy(ctx, c, b, size)
}

// size is that of the volume itself, in GiB.
func (b *protecting) size(ctx context.Context, id string) (int, error) {
	found, err := b.Show(ctx, volume.Volumes, id)
	if err != nil {
		return 0, err
	}
	return int(found.Size), nil
}

// fork makes a volume like the one that is protected, and returns its id and its
// size in GiB.
func (b *protecting) fork(ctx context.Context, c *protection.Call) (string, int, error) {
	b.snapshot.Body = titled(c, map[string]any{
		"volume_id": c.Resource.ID, "force": true, "name": "temporary_snapshot_of_" + c.Resource.ID,
	})
	if err := b.Make(ctx, c, b.snapshot); err != nil {
		return "", 0, err
	}
	snapshot := b.state.Snapshot
	if !b.state.Volume.Asked {
		if err := b.Await(ctx, volume.Snapshots, snapshot.ID, volume.Taken, nil); err != nil {
			return "", 0, why("The status of snapshot is %s", "Unable to find volume snapshot.", err)
		}
	}
	b.volume.Body = titled(c, map[string]any{
		"size": snapshot.Size, "snapshot_id": snapshot.ID, "name": "temporary_volume_of_" + snapshot.ID,
	})
	if err := b.Make(ctx, c, b.volume); err != nil {
		return "", 0, err
	}
	id := b.state.Volume.ID
	if !b.state.Image.Asked {
		if err := b.Await(ctx, volume.Volumes, id, volume.Created, nil); err != nil {
			return "", 0, why("Invalid status: %s of temporary volume.", "Invalid status: not-found of temporary volume.", err)
		}
	}
	return id, snapshot.Size, nil
}

// titled adds to the body of something temporary what the user calls the backup,
// for those who see it at Cinder. In the original the two parameters do nothing.
func titled(c *protection.Call, body map[string]any) map[string]any {
	if name, ok := c.Parameters.String("backup_name"); ok {
		body["metadata"] = remote.Marks{"backup_name": name}
	}
	if description, ok := c.Parameters.String("description"); ok {
		body["description"] = description
	}
	return body
}

// why tells users in which status a wait ended.
func why(format, gone string, err error) error {
	switch status := hook.StatusOf(err); status {
	case "":
		return err
	case poll.NotFound:
		return &hook.Failure{Text: gone, Err: err}
	default:
		return &hook.Failure{Text: fmt.Sprintf(format, status), Err: err}
	}
}

// imageName is the name of the temporary image, by which a second run finds it:
// Cinder makes it, and lets the caller choose nothing else. It is that of the
// original, unless the volume itself is uploaded, which checkpoints may do at the
// same time.
func imageName(c *protection.Call, state protectState) string {
	if state.Volume.ID != "" {
		return "temporary_image_of_" + state.Volume.ID
	}
	return "temporary_image_of_" + c.Resource.ID + "_" + c.Checkpoint.ID()
}

// upload makes an image of a volume and waits for it.
func (b *protecting) upload(ctx context.Context, c *protection.Call, source, name string) error {
	made := &b.state.Image
	if made.ID == "" && (made.Asked || c.State == nil) {
		found, err := b.glance.named(ctx, name)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			*made = remote.Made{Asked: true, ID: found[0].ID}
			if err := b.save(); err != nil {
				return err
			}
		}
	}
	if made.ID == "" {
		made.Asked = true
		if err := b.save(); err != nil {
			return err
		}
		id, err := b.uploadImage(ctx, source, name)
		if err != nil {
			return err
		}
		made.ID = id
		if err := b.save(); err != nil {
			return err
		}
	}
	if err := b.glance.await(ctx, made.ID); err != nil {
		return why("Invalid status: %s of temporary image.", "Invalid status: not-found of temporary image.", err)
	}
	return nil
}

// uploadImage asks Cinder to upload a volume and returns the id of the image.
// cinder: POST /v3/{project}/volumes/{id}/action os-volume_upload_image
func (b *protecting) uploadImage(ctx context.Context, source, name string) (string, error) {
	body := map[string]any{"os-volume_upload_image": map[string]any{
		"force": true, "image_name": name, "container_format": "bare", "disk_format": "raw", "visibility": "private", "protected": false,
	}}
	var answer struct {
		Upload struct {
			ImageID string `json:"image_id"`
		} `json:"os-volume_upload_image"`
	}
	_, err := b.Post(ctx, b.ServiceURL("volumes", url.PathEscape(source), "action"), body, &answer, &gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	if err != nil {
		return "", fmt.Errorf("upload volume %s: %w", source, err)
	}
	if answer.Upload.ImageID == "" {
		return "", fmt.Errorf("upload volume %s: the answer does not name the image", source)
	}
	return answer.Upload.ImageID, nil
}

// copy writes the data of the image, its manifest and the metadata.
func (p *Plugin) copy(ctx context.Context, c *protection.Call, b *protecting, size int) error {
	source, err := b.glance.show(ctx, b.state.Image.ID)
	if err != nil {
		return err
	}
	written := &imagedata.Manifest{}
	transfer := imagedata.Transfer{Client: b.glance.ServiceClient, ImageID: source.ID, Section: c.Section, Manifest: written, Report: c.Report}
	count, err := transfer.Store(ctx, p.cfg.ObjectSize, source.Size, source.hash())
	if err != nil {
		return err
	}
	// A run before this one may have got further with another image.
	err = c.DeleteObjects(ctx, imagedata.Prefix, func(key string) bool { return imagedata.Number(key) > count })
	if err != nil {
		return err
	}
	if err := written.Write(ctx, c.Section); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, metadata{
		VolumeID: c.Resource.ID, Size: size, Chunks: imagedata.Count(count), Image: source.imageMetadata,
	})
}

// tidy removes what is temporary, what needs others first.
func (b *protecting) tidy(ctx context.Context, c *protection.Call) error {
	return hook.Join(b.dropImages(ctx, c), b.Remove(ctx, c, b.volume), b.Remove(ctx, c, b.snapshot))
}

// dropImages removes the temporary image, also one that was made without an
// answer.
func (b *protecting) dropImages(ctx context.Context, c *protection.Call) error {
	if !b.state.Image.Asked && c.State != nil {
		return nil
	}
	return b.glance.sweep(ctx, imageName(c, b.state), b.state.Image.ID)
}

// sweep removes the images with a name, and the known one, if any.
func (g *glance) sweep(ctx context.Context, name, known string) error {
	found, err := g.named(ctx, name)
	failures := []error{err}
	if known != "" {
		failures = append(failures, g.remove(ctx, known))
	}
	for _, i := range found {
		if i.ID != known {
			failures = append(failures, g.remove(ctx, i.ID))
		}
	}
	if err := hook.Join(failures...); err != nil {
		return &hook.Failure{Text: fmt.Sprintf("image %s may be left behind: %s", name, hook.Reason(err)), Err: err}
	}
	return nil
}

func (p *Plugin) cleanBackUp(ctx context.Context, c *protection.Call, _ error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.discard(ctx, c)
}

// discard removes what is temporary, and waits for the end of an upload of the
// volume itself, which goes on without its image for a while.
func (b *protecting) discard(ctx context.Context, c *protection.Call) error {
	err := b.tidy(ctx, c)
	if !b.state.Image.Asked || b.state.Volume.Asked {
		return err
	}
	uploaded := b.Await(ctx, volume.Volumes, c.Resource.ID, poll.Statuses{
		Success: []string{"available", "in-use", poll.NotFound}, Ignore: []string{"uploading"},
	}, nil)
	if hook.StatusOf(uploaded) != "" {
		uploaded = nil // it does something else by now
	}
	return hook.Join(err, uploaded)
}

// unprotect takes a protect back: what is temporary, and what is in the bank.
func (p *Plugin) unprotect(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err == nil {
		err = b.discard(ctx, c)
	}
	return purge(ctx, c, err)
}

// remove deletes what is in the bank, and of a protect that was not finished what
// is temporary.
func (p *Plugin) remove(ctx context.Context, c *protection.Call) error {
	err := c.CheckSection()
	was := ""
	if err == nil {
		was, err = c.Section.GetText(ctx, protection.StatusKey)
	}
	switch {
	case errors.Is(err, bank.ErrNotFound):
		err = nil
	case err == nil && hook.Unfinished(was):
		err = p.sweep(ctx, c)
	}
	return purge(ctx, c, err)
}

// purge empties the section, unless something before that failed.
func purge(ctx context.Context, c *protection.Call, err error) error {
	if err == nil {
		return protection.Purge(frame.Title, imagedata.KnownObjects, imagedata.KnownManifest)(ctx, c)
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	c.PutError(ctx)
	err = protection.Because(ctx, err)
	return fault.DeleteResourceFailed(frame.Title, hook.Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
}

// sweep removes what is temporary of a protect whose state is not known any more.
// An image is removed before the volume that it was made of, so that its name can
// be told from the latter.
func (p *Plugin) sweep(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	b.volume.Made, b.snapshot.Made, b.state = nil, nil, protectState{}
	volumes, err := b.Find(ctx, b.volume)
	failures := []error{err, b.glance.sweep(ctx, imageName(c, b.state), "")}
	for _, v := range volumes {
		failures = append(failures, b.glance.sweep(ctx, imageName(c, protectState{Volume: remote.Made{ID: v.ID}}), ""))
	}
	return hook.Join(append(failures, b.Sweep(ctx, b.volume), b.Sweep(ctx, b.snapshot))...)
}
