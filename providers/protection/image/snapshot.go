// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Properties of a temporary image, by which a second run finds it.
const (
	checkpointProperty = "karbor_checkpoint_id"
	resourceProperty   = "karbor_resource_id"
)

// stable are the statuses in which a server can be snapshotted. SHUTOFF is what
// Nova calls the original's STOPPED, BUILD its BUILDING.
// nova: compute/vm_states.py, karbor: image_protection_plugin.py
var stable = poll.Statuses{
	Success: []string{"ACTIVE", "STOPPED", "SHUTOFF", "SUSPENDED", "PAUSED"},
	Failure: []string{
		"DELETED", "ERROR", "RESIZED", "SHELVED", "SHELVED_OFFLOADED", "SOFT_DELETED", "RESCUED", "RESCUE", poll.NotFound,
	},
	Ignore: []string{"BUILDING", "BUILD", "REBUILD", "REBOOT", "HARD_REBOOT", "RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "PASSWORD", "MIGRATING"},
}

// serverOf reads server_id from the extra_info of an image: an object, or from a
// plan its JSON text in a string.
func serverOf(extraInfo json.RawMessage) string {
	var text string
	if json.Unmarshal(extraInfo, &text) == nil {
		extraInfo = json.RawMessage(text)
	}
	var info struct {
		ServerID string `json:"server_id"`
	}
	if json.Unmarshal(extraInfo, &info) != nil {
		return ""
	}
	return info.ServerID
}

// snapshot makes a temporary image of a server, notes its id in the state and
// waits for it. Whatever comes of it, sweep removes what it made.
func (p *Plugin) snapshot(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID string, state *protectState) error {
	nova, err := p.clients.Compute(ctx)
	if err != nil {
		return &failure{"Failed to create the server snapshot: " + reason(err), err}
	}
	id, err := earlier(ctx, c, client, serverID, state.SnapshotID)
	if err != nil {
		return err
	}
	if id == "" {
		if err := p.awaitServer(ctx, nova, serverID); err != nil {
			return err
		}
		if id, err = shoot(ctx, c, nova, serverID); err != nil {
			return &failure{"Failed to create the server snapshot: " + reason(err), err}
		}
	}
	if state.SnapshotID != id {
		state.SnapshotID = id
		if err := c.SaveState(ctx, state); err != nil {
			return err
		}
	}
	if _, err := p.await(ctx, client, id); err != nil {
		return &failure{"Create parent server snapshot failed.", err}
	}
	return nil
}

func (p *Plugin) awaitServer(ctx context.Context, nova *gophercloud.ServiceClient, serverID string) error {
	err := poll.Until(ctx, p.poll, stable, func(ctx context.Context) (string, error) {
		server, err := openstack.Show[struct {
			Status string `json:"status"`
		}](ctx, nova, "servers", serverID, "server")
		if openstack.IsNotFound(err) {
			return poll.NotFound, nil
		}
		if err != nil {
			return "", err
		}
		return server.Status, nil
	})
	var status *poll.StatusError
	if errors.As(err, &status) || errors.Is(err, poll.ErrDeadline) {
		return &failure{"The parent server of the image is not in valid status", err}
	}
	return err
}

func temporaryName(serverID string) string { return "Temp_image_name_for_karbor" + serverID }

// temporary is a temporary image of this hook, of whichever run.
type temporary struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// temporaries finds the temporary images of this hook. It goes by name and
// properties, as the run that made one may have died before it knew the id.
func temporaries(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID string) ([]temporary, error) {
	return openstack.List[temporary](ctx, client, "images", "images", url.Values{
		"name":             {temporaryName(serverID)},
		checkpointProperty: {c.Checkpoint.ID()},
		resourceProperty:   {c.Resource.ID},
	})
}

// earlier finds the temporary image of an interrupted run of this same hook.
// known is its id, if that run lived to note it.
func earlier(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID, known string) (string, error) {
	images, err := temporaries(ctx, c, client, serverID)
	if err != nil {
		return "", err
	}
	for _, i := range images {
		if !slices.Contains(ready.Failure, i.Status) {
			return i.ID, nil
		}
	}
	if known == "" {
		return "", nil
	}
	found, err := show(ctx, client, known)
	if openstack.IsNotFound(err) || err == nil && slices.Contains(ready.Failure, found.Status) {
		return "", nil
	}
	return known, err
}

// sweep removes all temporary images of this hook: those that failed and those
// whose making got no answer included, and the known one, if any.
func sweep(ctx context.Context, c *protection.Call, client *gophercloud.ServiceClient, serverID, known string) error {
	images, err := temporaries(ctx, c, client, serverID)
	if err != nil {
		return err
	}
	if known != "" && !slices.ContainsFunc(images, func(i temporary) bool { return i.ID == known }) {
		images = append(images, temporary{ID: known})
	}
	for _, i := range images {
		if err := remove(ctx, client, i.ID); err != nil {
			return fmt.Errorf("delete temporary image %s: %w", i.ID, err)
		}
	}
	return nil
}

// shoot starts a snapshot. The user's parameters become properties of the
// image, as with the original. nova: POST /servers/{id}/action createImage; up to
// microversion 2.44 the image's id is in the Location header alone.
func shoot(ctx context.Context, c *protection.Call, nova *gophercloud.ServiceClient, serverID string) (string, error) {
	properties := map[string]string{}
	for _, name := range c.Parameters.Names() {
		if value, ok := c.Parameters.String(name); ok {
			properties[name] = value
		}
	}
	properties[checkpointProperty] = c.Checkpoint.ID()
	properties[resourceProperty] = c.Resource.ID
	body := map[string]any{"createImage": map[string]any{"name": temporaryName(serverID), "metadata": properties}}
	resp, err := nova.Post(ctx, nova.ServiceURL("servers", url.PathEscape(serverID), "action"), body, nil, nil)
	if err != nil {
		return "", err
	}
	location, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || location.Path == "" {
		return "", fmt.Errorf("the answer does not say where the image of server %s is", serverID)
	}
	return path.Base(location.Path), nil
}
