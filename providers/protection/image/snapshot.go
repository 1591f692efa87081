// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
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

// snapshot makes a temporary image of the server, notes its id in the state and
// waits for it. Whatever comes of it, dropSnapshot removes what it made.
func (b *protecting) snapshot(ctx context.Context) error {
	nova, err := b.plugin.clients.Compute(ctx)
	if err != nil {
		return notTaken(err)
	}
	known := b.state.SnapshotID
	if known != "" {
		found, err := b.Image(ctx, known)
		if err != nil && !openstack.IsNotFound(err) {
			return err
		}
		if err != nil || found.Broken() {
			known = ""
		}
	}
	created := remote.Created{ID: known, Uncertain: true}
	save := func() error {
		if created.ID == "" {
			return nil
		}
		b.state.SnapshotID = created.ID
		return b.call.SaveState(ctx, b.state)
	}
	err = remote.Once(ctx, &created, save, b.temporaries, func(ctx context.Context) (remote.Created, error) {
		if err := b.awaitServer(ctx, nova); err != nil {
			return remote.Created{}, err
		}
		id, err := b.shoot(ctx, nova)
		if err != nil {
			err = notTaken(err)
		}
		return remote.Created{ID: id}, err
	})
	if err != nil {
		return err
	}
	if _, err := b.Active(ctx, created.ID); err != nil {
		return &hook.Failure{Text: "Create parent server snapshot failed.", Err: err}
	}
	return nil
}

func notTaken(err error) error {
	return &hook.Failure{Text: "Failed to create the server snapshot: " + hook.Reason(err), Err: err}
}

func (b *protecting) awaitServer(ctx context.Context, nova *gophercloud.ServiceClient) error {
	err := poll.Until(ctx, b.plugin.poll, stable, func(ctx context.Context) (string, error) {
		server, err := openstack.Show[struct {
			Status string `json:"status"`
		}](ctx, nova, "servers", b.serverID, "server")
		if openstack.IsNotFound(err) {
			return poll.NotFound, nil
		}
		if err != nil {
			return "", err
		}
		return server.Status, nil
	})
	return hook.Instead("The parent server of the image is not in valid status", err)
}

func temporaryName(serverID string) string { return "Temp_image_name_for_karbor" + serverID }

// query finds the temporary images of this hook, of whichever run. It goes by name and
// properties, as the run that made one may have died before it knew the id.
func (b *protecting) query() url.Values {
	return url.Values{
		"name":             {temporaryName(b.serverID)},
		checkpointProperty: {b.call.Checkpoint.ID()},
		resourceProperty:   {b.call.Resource.ID},
	}
}

// temporaries finds the temporary images that can be used.
func (b *protecting) temporaries(ctx context.Context) ([]remote.Created, error) {
	images, err := b.Images(ctx, b.query())
	var found []remote.Created
	for _, i := range images {
		if !i.Broken() {
			found = append(found, remote.Created{ID: i.ID})
		}
	}
	return found, err
}

// dropSnapshot removes all temporary images of this hook: those that failed and those
// whose making got no answer included, and the known one, if any.
func (b *protecting) dropSnapshot(ctx context.Context) error {
	if b.serverID == "" {
		return nil
	}
	return b.RemoveAll(ctx, b.query(), b.state.SnapshotID)
}

// shoot starts a snapshot. The user's parameters become properties of the
// image, as with the original. nova: POST /servers/{id}/action createImage; from
// microversion 2.45 on the answer has no Location header.
func (b *protecting) shoot(ctx context.Context, nova *gophercloud.ServiceClient) (string, error) {
	c, serverID := b.call, b.serverID
	properties := map[string]string{}
	for _, name := range c.Parameters.Names() {
		if value, ok := c.Parameters.String(name); ok {
			properties[name] = value
		}
	}
	properties[checkpointProperty] = c.Checkpoint.ID()
	properties[resourceProperty] = c.Resource.ID
	body := map[string]any{"createImage": map[string]any{"name": temporaryName(serverID), "metadata": properties}}
	resp, err := openstack.WithMicroversion(nova, "2.1").Post(ctx, nova.ServiceURL("servers", url.PathEscape(serverID), "action"), body, nil, nil)
	if err != nil {
		return "", err
	}
	location, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || location.Path == "" {
		return "", fmt.Errorf("the answer does not say where the image of server %s is", serverID)
	}
	return path.Base(location.Path), nil
}
