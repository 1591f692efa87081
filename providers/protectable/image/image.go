// SPDX-License-Identifier: Apache-2.0

// Package image makes Glance's images protectable.
package image

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which an image is not listed.
// karbor: services/protection/protectable_plugins/image.py
var unfit = []string{"killed", "deleted", "pending_delete", "deactivated"}

// Clients makes Glance and Nova clients for the caller of a context.
type Clients interface {
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the images that the caller sees, and links a server to the image
// that it was booted from.
type Plugin struct{ clients Clients }

var _ protectable.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Glance::Image.
func (*Plugin) Type() string { return resource.Image }

// ParentTypes returns the server and the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Server, resource.Project} }

type image struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	Owner  string `json:"owner"`
}

func (i image) resource() resource.Resource {
	return resource.Resource{Type: resource.Image, ID: i.ID, Name: i.Name}
}

// List returns the images that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.list(ctx, func(image) bool { return true })
}

func (p *Plugin) list(ctx context.Context, wanted func(image) bool) ([]resource.Resource, error) {
	client, err := p.clients.Image(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	images, err := openstack.List[image](ctx, client, "images", "images", nil)
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	found := []resource.Resource{}
	for _, i := range images {
		if !slices.Contains(unfit, i.Status) && wanted(i) {
			found = append(found, i.resource())
		}
	}
	return found, nil
}

// Show returns one image.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	i, err := p.show(ctx, id)
	if err != nil {
		return nil, protectable.ShowFailed(resource.Image, id, err)
	}
	if err := protectable.CheckStatus(resource.Image, id, i.Status, unfit); err != nil {
		return nil, err
	}
	r := i.resource()
	return &r, nil
}

func (p *Plugin) show(ctx context.Context, id string) (*image, error) {
	client, err := p.clients.Image(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[image](ctx, client, "images", id, "")
}

// Dependents returns the image of a server, which notes the server in its
// extra_info, or the images that a project owns.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	if parent.Type == resource.Project {
		return p.list(ctx, func(i image) bool { return i.Owner == parent.ID })
	}
	id, err := p.imageOf(ctx, parent.ID)
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	if id == "" {
		return nil, nil
	}
	type imageKey string
	i, err := protectable.Once(ctx, imageKey(id), func(ctx context.Context) (*image, error) { return p.show(ctx, id) })
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	r := i.resource()
	r.ExtraInfo = protectable.ExtraInfo(map[string]string{"server_id": parent.ID})
	return []resource.Resource{r}, nil
}

// imageOf returns the id of a server's image, "" if it was booted from a volume:
// Nova then shows an empty string in place of the object.
func (p *Plugin) imageOf(ctx context.Context, serverID string) (string, error) {
	client, err := p.clients.Compute(ctx)
	if err != nil {
		return "", err
	}
	server, err := openstack.Show[struct {
		Image json.RawMessage `json:"image"`
	}](ctx, client, "servers", serverID, "server")
	if err != nil {
		return "", err
	}
	var reference struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(server.Image, &reference) != nil {
		return "", nil
	}
	return reference.ID, nil
}
