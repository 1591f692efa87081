// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// active are the statuses of an image that has no data yet. Cinder deletes one
// whose upload fails. glance: common/utils.py
var active = poll.Statuses{
	Success: []string{"active"},
	Failure: []string{"killed", "deleted", "pending_delete", "deactivated", poll.NotFound},
	Ignore:  []string{"queued", "saving", "uploading", "importing"},
}

// image is what the plugin reads of an image.
type image struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Size   int64  `json:"size"` // bytes; null reads as 0
	imageMetadata
	HashAlgo  *string `json:"os_hash_algo"`
	HashValue *string `json:"os_hash_value"`
}

func (i *image) hash() imagedata.Hash {
	return imagedata.Hash{MD5: text(i.Checksum), Algo: text(i.HashAlgo), Value: text(i.HashValue)}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// glance is Glance as one caller sees it.
type glance struct {
	*gophercloud.ServiceClient
	plugin  *Plugin
	project string
}

func (p *Plugin) glance(ctx context.Context) (*glance, error) {
	client, err := p.clients.Image(ctx)
	if err != nil {
		return nil, err
	}
	return &glance{ServiceClient: client, plugin: p, project: requestcontext.From(ctx).ProjectID}, nil
}

func (g *glance) show(ctx context.Context, id string) (*image, error) {
	return openstack.Show[image](ctx, g.ServiceClient, "images", id, "")
}

// named lists the images with a name.
func (g *glance) named(ctx context.Context, name string) ([]image, error) {
	return openstack.List[image](ctx, g.ServiceClient, "images", "images", url.Values{"name": {name}})
}

// remove deletes an image. One that is gone is as good.
func (g *glance) remove(ctx context.Context, id string) error {
	_, err := g.Delete(ctx, g.ServiceURL("images", url.PathEscape(id)), &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusNoContent, http.StatusNotFound},
	})
	if err != nil {
		return fmt.Errorf("delete image %s: %w", id, err)
	}
	return nil
}

// await waits until an image is active, with one listing for all that wait.
func (g *glance) await(ctx context.Context, id string) error {
	err := g.plugin.images.Until(ctx, poll.Key{Service: "glance", Project: g.project, Kind: "images"}, poll.Wait{
		ID: id, Statuses: active, Options: g.plugin.poll, Source: g,
	})
	if err != nil {
		return fmt.Errorf("wait for image %s: %w", id, err)
	}
	return nil
}

var _ poll.Source = (*glance)(nil)

// Page implements poll.Source: the newest of the caller's own images first. The
// marker is the query of the next page.
func (g *glance) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	if marker == "" {
		marker = url.Values{"owner": {g.project}, "sort": {"created_at:desc"}, "limit": {"1000"}}.Encode()
	}
	images, next, err := openstack.Page[image](ctx, g.ServiceClient, "images", "images", marker)
	page := make(map[string]poll.Status, len(images))
	for _, i := range images {
		page[i.ID] = poll.Status{Text: i.Status}
	}
	return page, next, err
}

// Show implements poll.Source.
func (g *glance) Show(ctx context.Context, id string) (poll.Status, error) {
	found, err := g.show(ctx, id)
	if openstack.IsNotFound(err) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return poll.Status{Text: found.Status}, nil
}
