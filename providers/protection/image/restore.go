// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
)

// defaultName is the name of a restored image when the user gives none.
// karbor: image_protection_plugin.py
const defaultName = "karbor-restore-image"

// restoring is one run of a restore.
type restoring struct {
	*imagedata.Glance
	plugin *Plugin
	call   *protection.Call
	about  metadata
	// state is what a second run of a restore knows of the first. The id of the new
	// image is chosen and kept before it is created: Glance takes it from the request.
	state struct {
		ImageID string `json:"image_id"`
	}
}

func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	r := &restoring{plugin: p, call: c}
	var err error
	if r.Glance, err = p.glance.For(ctx); err != nil {
		return nil, err
	}
	return r, c.LoadState(ctx, &r.state)
}

// described reads what the image was.
func described(ctx context.Context, c *protection.Call) (about metadata, err error) {
	err = c.Section.GetJSON(ctx, protection.MetadataKey, &about)
	if err == nil && about.Image == nil {
		err = errors.New("The metadata of the image is missing in the bank") //nolint:staticcheck // shown to users
	}
	return about, err
}

// plan says what restore makes. Those of the image's other servers are made like it.
func (p *Plugin) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	about, err := described(ctx, c)
	if err != nil {
		return nil, err
	}
	return hook.Words(map[string]any{"name": restoredName(c), "disk_format": about.Image.DiskFormat, "container_format": about.Image.ContainerFormat}), nil
}

func restoredName(c *protection.Call) string {
	name, _ := c.Parameters.String("restore_name")
	return cmp.Or(name, defaultName)
}

// restore makes a new image from the bank, and returns its id, also with an error if
// there was one for a while. A second run finds the image of the first: it uses the
// image if it is whole, fills it if it has no data, and else replaces it.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	about, err := described(ctx, c)
	if err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	r.about = about
	found := leftover{}
	if r.state.ImageID != "" {
		if found, err = r.lookBack(ctx); err != nil {
			return r.state.ImageID, err
		}
	}
	if !found.usable {
		if err := r.choose(ctx); err != nil {
			return "", err
		}
	}
	if !found.whole {
		err = r.make(ctx, found)
	}
	return r.state.ImageID, err
}

// undoRestore deletes the restored image, as far as it has come.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil || r.state.ImageID == "" {
		return err // or none was begun
	}
	return r.Remove(ctx, r.state.ImageID)
}

// make creates the image, unless it is there, and fills it. What the run before had
// sent may come to Glance later than anybody looked: its image, or data on their
// way into this one. Then another image is made in place of that.
func (r *restoring) make(ctx context.Context, found leftover) error {
	var err error
	if !found.empty {
		err = r.Create(ctx, r.state.ImageID, restoredName(r.call), *r.about.Image)
	}
	if err == nil {
		err = r.fill(ctx)
	}
	if !found.usable || !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		return err
	}
	if err := r.discard(ctx); err != nil {
		return err
	}
	if err := r.choose(ctx); err != nil {
		return err
	}
	return r.make(ctx, leftover{})
}

// fill writes the data of an image that has none, and waits until it is active.
func (r *restoring) fill(ctx context.Context) error {
	if err := r.call.UpdateStatus(ctx, r.state.ImageID, protection.StatusRestoring, ""); err != nil {
		return err
	}
	var count imagedata.Count
	if r.about.Chunks != nil {
		count = *r.about.Chunks
	}
	return r.Restore(ctx, r.call, r.state.ImageID, count, r.about.Image.Checksum)
}

// leftover is what became of the image of an earlier run.
type leftover struct {
	whole  bool // all is done
	empty  bool // there, without data
	usable bool // its id is that of the restore still
}

// lookBack looks at the image of an earlier run. One with other data than all of
// it, or whose upload may still go on, is deleted: an upload cannot be continued.
// Glance never takes the id of a deleted image again, so another is chosen then.
func (r *restoring) lookBack(ctx context.Context) (leftover, error) {
	found, err := r.Image(ctx, r.state.ImageID)
	switch {
	case openstack.IsNotFound(err):
		return leftover{usable: true}, nil // the run before ended before it created it, or after it deleted it
	case err != nil:
		return leftover{}, err
	case found.Status == "active" && found.Holds(r.about.Image.Checksum):
		return leftover{whole: true, usable: true}, nil
	case found.Status == "queued":
		return leftover{empty: true, usable: true}, nil
	}
	return leftover{}, r.discard(ctx)
}

// discard deletes an image in whose place another is made.
func (r *restoring) discard(ctx context.Context) error {
	if err := r.Remove(ctx, r.state.ImageID); err != nil {
		return err
	}
	return r.call.UpdateStatus(ctx, r.state.ImageID, protection.StatusDeleted, "")
}

// choose makes up the id of the image and keeps it.
func (r *restoring) choose(ctx context.Context) error {
	r.state.ImageID = r.plugin.newID()
	return r.call.SaveState(ctx, r.state)
}
