// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
)

// defaultName is the name of a restored image when the user gives none.
// karbor: image_protection_plugin.py
const defaultName = "karbor-restore-image"

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	ImageID string `json:"image_id"`
}

// restore makes a new image from the bank. Its id is chosen and kept before it
// is created: Glance takes it from the request. So a second run finds the image
// of the first: it uses the image if it is whole, fills it if it has no data, and
// else replaces it.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) error {
	id, err := p.bring(ctx, c)
	if err == nil {
		c.NewResources.Set(c.Resource.ID, id)
		return nil
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	err = protection.Because(ctx, err)
	text := reason(err)
	after, cancel := protection.Aftermath(ctx)
	defer cancel()
	recorded := id
	if recorded == "" {
		recorded = c.Resource.ID
	}
	if recordErr := c.UpdateStatus(after, recorded, protection.StatusError, text); recordErr != nil {
		c.Logger().Warn(fault.Detail(recordErr))
	}
	if fault.Is(err, "InvalidInput") {
		return err
	}
	return fault.RestoreResourceFailed(title, text, c.Resource.ID, c.Resource.Type).WithCause(err)
}

// bring returns the id of the image, also with an error if there was one for a
// while.
func (p *Plugin) bring(ctx context.Context, c *protection.Call) (string, error) {
	if err := c.CheckBackup(ctx); err != nil {
		return "", err
	}
	if err := c.Parameters.Check(schemas.Restore); err != nil {
		return "", err
	}
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	if about.Image == nil {
		return "", errors.New("The metadata of the image is missing in the bank") //nolint:staticcheck // shown to users
	}
	client, err := p.clients.Image(ctx)
	if err != nil {
		return "", err
	}
	var state restoreState
	if err := c.LoadState(ctx, &state); err != nil {
		return "", err
	}
	found := leftover{}
	if state.ImageID != "" {
		if found, err = p.lookBack(ctx, c, client, state.ImageID, about.Image); err != nil {
			return state.ImageID, err
		}
	}
	if !found.usable {
		if err := p.choose(ctx, c, &state); err != nil {
			return "", err
		}
	}
	if !found.whole {
		err = p.make(ctx, c, client, &state, found, about)
	}
	if err == nil {
		err = c.UpdateStatus(ctx, state.ImageID, protection.StatusAvailable, "")
	}
	if err != nil && protection.Handover(ctx, err) == nil {
		after, cancel := protection.Aftermath(ctx)
		defer cancel()
		if removeErr := remove(after, client, state.ImageID); removeErr != nil {
			c.Logger().Warnf("failed image %s is left behind: %v", state.ImageID, removeErr)
		}
	}
	return state.ImageID, err
}

// make creates the image, unless it is there, and fills it. What the run before had
// sent may come to Glance later than anybody looked: its image, or data on their
// way into this one. Then another image is made in place of that.
func (p *Plugin) make(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, state *restoreState, found leftover, about metadata) error {
	var err error
	if !found.empty {
		err = create(ctx, c, client, state.ImageID, about.Image)
	}
	if err == nil {
		err = p.fill(ctx, c, client, state.ImageID, about)
	}
	if !found.usable || !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		return err
	}
	if err := remove(ctx, client, state.ImageID); err != nil {
		return err
	}
	if err := closeRecord(ctx, c, state.ImageID); err != nil {
		return err
	}
	if err := p.choose(ctx, c, state); err != nil {
		return err
	}
	return p.make(ctx, c, client, state, leftover{}, about)
}

// unrestore deletes the restored image, as far as it has come.
func (p *Plugin) unrestore(ctx context.Context, c *protection.Call) error {
	var state restoreState
	err := c.LoadState(ctx, &state)
	if err == nil && state.ImageID == "" {
		return nil // none was begun
	}
	var client *gophercloud.ServiceClient
	if err == nil {
		client, err = p.clients.Image(ctx)
	}
	if err == nil {
		err = remove(ctx, client, state.ImageID)
	}
	if err == nil {
		return nil
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	err = protection.Because(ctx, err)
	return fault.DeleteResourceFailed(title, reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
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
func (p *Plugin) lookBack(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, id string, want *imagedata.Metadata) (leftover, error) {
	found, err := show(ctx, client, id)
	switch {
	case openstack.IsNotFound(err):
		return leftover{usable: true}, nil // the run before ended before it created it, or after it deleted it
	case err != nil:
		return leftover{}, err
	case found.Status == "active" && sameChecksum(found, want):
		return leftover{whole: true, usable: true}, nil
	case found.Status == "queued":
		return leftover{empty: true, usable: true}, nil
	}
	if err := remove(ctx, client, id); err != nil {
		return leftover{}, err
	}
	return leftover{}, closeRecord(ctx, c, id)
}

// closeRecord notes that another image is made in place of one.
func closeRecord(ctx context.Context, c *protection.Call, id string) error {
	return c.UpdateStatus(ctx, id, protection.StatusDeleted, "")
}

// choose makes up the id of the image and keeps it.
func (p *Plugin) choose(ctx context.Context, c *protection.Call, state *restoreState) error {
	state.ImageID = p.newID()
	return c.SaveState(ctx, *state)
}

// create makes an image without data.
func create(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, id string, about *imagedata.Metadata) error {
	name, given := c.Parameters.String("restore_name")
	if !given || name == "" {
		name = defaultName
	}
	body := map[string]any{"id": id, "name": name}
	if about.DiskFormat != nil {
		body["disk_format"] = *about.DiskFormat
	}
	if about.ContainerFormat != nil {
		body["container_format"] = *about.ContainerFormat
	}
	if _, err := client.Post(ctx, client.ServiceURL("images"), body, nil, nil); err != nil {
		return fmt.Errorf("create image %s: %w", id, err)
	}
	return nil
}

// fill writes the data of an image that has none, and waits until it is active.
func (p *Plugin) fill(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, id string, about metadata) error {
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return err
	}
	var count imagedata.Count
	if about.Chunks != nil {
		count = *about.Chunks
	}
	transfer := imagedata.Transfer{Client: client, ImageID: id, Section: c.Section, Report: c.Report}
	err := transfer.Load(ctx, count, about.Image.Checksum)
	for _, known := range []error{imagedata.ErrCount, imagedata.ErrChecksum} {
		if errors.Is(err, known) {
			return &failure{known.Error(), err}
		}
	}
	if err != nil {
		return err
	}
	made, err := p.await(ctx, client, id)
	if err != nil {
		return err
	}
	if !sameChecksum(made, about.Image) {
		return &failure{imagedata.ErrChecksum.Error(), fmt.Errorf("image %s has checksum %s", id, text(made.Checksum))}
	}
	return nil
}

// sameChecksum compares the checksums if both are known: images from before
// Glance computed them have none.
func sameChecksum(i *image, want *imagedata.Metadata) bool {
	if i.Checksum == nil || want.Checksum == nil {
		return true
	}
	return strings.EqualFold(*i.Checksum, *want.Checksum)
}
