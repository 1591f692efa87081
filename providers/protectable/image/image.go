// SPDX-License-Identifier: Apache-2.0

// Package image makes Glance's images protectable.
package image

import (
	"bytes"
	"context"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protectable/server"
)

// unfit are the statuses in which an image is not listed.
// karbor: services/protection/protectable_plugins/image.py
var unfit = []string{"killed", "deleted", "pending_delete", "deactivated"}

// unprotectable are the statuses of an image whose data cannot be downloaded, now or later.
// glance: api-ref/source/v2, image statuses
var unprotectable = append([]string{"queued"}, unfit...)

// pageSize is the most that Glance gives by default; unasked it gives 25.
const pageSize = "1000"

// Clients makes Glance and Nova clients for the caller of a context.
type Clients interface {
	server.Clients
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin lists the images that the caller sees, and links a server to the image
// that it was booted from.
type Plugin struct{ clients Clients }

var _ protectable.Judge = (*Plugin)(nil)

// New returns the plugin.
func New(clients Clients) *Plugin { return &Plugin{clients: clients} }

// Type returns OS::Glance::Image.
func (*Plugin) Type() string { return resource.Image }

// ParentTypes returns the server and the project.
func (*Plugin) ParentTypes() []string { return []string{resource.Server, resource.Project} }

type image struct {
	ID     string  `json:"id"`
	Name   *string `json:"name"`
	Status string  `json:"status"`
	Owner  string  `json:"owner"`
}

func (i image) resource() resource.Resource {
	return resource.New(resource.Image, i.ID, i.Name)
}

// List returns the images that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.list(ctx, func(image) bool { return true })
}

func (p *Plugin) list(ctx context.Context, wanted func(image) bool) ([]resource.Resource, error) {
	images, err := p.images(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	images = slices.DeleteFunc(slices.Clone(images), func(i image) bool { return !wanted(i) })
	return p.statuses().Fit(ctx, images, unfit, image.resource), nil
}

// Unfit implements protectable.Judge. The image of a server is as fit as the server: it is
// the server's disk that is protected.
func (p *Plugin) Unfit(ctx context.Context, images []resource.Resource) (map[string]string, error) {
	images = slices.DeleteFunc(slices.Clone(images), func(r resource.Resource) bool { return bytes.Contains(r.ExtraInfo, []byte("server_id")) })
	return p.statuses().Unfit(ctx, images, unprotectable)
}

func (p *Plugin) statuses() protectable.Statuses[image] {
	return protectable.Statuses[image]{
		Type: resource.Image, List: p.images, Show: p.show, Of: func(i image) (id, status string) { return i.ID, i.Status },
	}
}

type listing struct{}

// images lists all images that the caller sees, once per graph.
func (p *Plugin) images(ctx context.Context) ([]image, error) {
	return protectable.Once(ctx, listing{}, func(ctx context.Context) ([]image, error) {
		client, err := p.clients.Image(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[image](ctx, client, "images", "images", url.Values{"limit": {pageSize}})
	})
}

// Show returns one image.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return p.statuses().Get(ctx, id, unfit, image.resource)
}

func (p *Plugin) show(ctx context.Context, id string) (*image, error) {
	client, err := p.clients.Image(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[image](ctx, client, "images", id, "")
}
