// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// ready are the statuses of an image that gets its data. "NotFound" of the original is
// read as the pseudo status that it stands for, and importing, which Glance has since,
// is waited for. Cinder deletes an image whose upload fails.
// glance: common/utils.py, karbor: image_protection_plugin.py
var ready = poll.Statuses{
	Success: []string{"active"},
	Failure: []string{"killed", "deleted", "pending_delete", "deactivated", poll.NotFound},
	Ignore:  []string{"queued", "saving", "uploading", "importing"},
}

// Image is what Glance tells of an image.
type Image struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Size   int64  `json:"size"` // bytes; null reads as 0
	Metadata
	HashAlgo  *string `json:"os_hash_algo"`
	HashValue *string `json:"os_hash_value"`

	properties map[string]json.RawMessage // all
}

// UnmarshalJSON reads an image as Glance shows it.
func (i *Image) UnmarshalJSON(text []byte) error {
	type plain Image
	if err := json.Unmarshal(text, (*plain)(i)); err != nil {
		return err
	}
	return json.Unmarshal(text, &i.properties)
}

// transient are properties that are Glance's or Nova's own, or those of a temporary image,
// and initial the values that a new image has of others.
// glance: api/v2/images.py, nova: compute/utils.py create_image
var (
	transient = []string{
		"id", "name", "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "disk_format", "container_format", "owner",
		"created_at", "updated_at", "file", "self", "schema", "locations", "direct_url", "stores", "metadata", "os_glance_", "owner_",
		"karbor_", "base_image_ref", "instance_uuid", "user_id", "boot_roles", "image_type", "image_location", "image_state", "root_device_name",
	}
	initial = map[string]string{"min_disk": "0", "min_ram": "0", "protected": "false", "os_hidden": "false", "tags": "[]"}
)

// unkept returns the properties that a new image made of a backup does not have, as
// "name=value" in order, "" for none. A new image is seen by its project, as it is if
// Glance is not told otherwise.
func (i *Image) unkept(temporary []string) string {
	var all []string
	for name, value := range i.properties {
		own := slices.ContainsFunc(transient, func(t string) bool { return name == t || strings.HasSuffix(t, "_") && strings.HasPrefix(name, t) })
		text := string(value)
		switch {
		case own, slices.Contains(temporary, name), text == "null", text == initial[name], name == "visibility" && (text == `"shared"` || text == `"private"`):
			continue
		}
		var plain string
		if json.Unmarshal(value, &plain) == nil {
			text = plain
		}
		all = append(all, name+"="+text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// RemarkUnkept remarks the properties of an image that its backup does not keep, but for
// those that it has for the time of the protection.
func RemarkUnkept(c *protection.Call, i *Image, temporary ...string) {
	if unkept := i.unkept(temporary); unkept != "" {
		c.Remark(remark.Remark{Aspect: "image properties", Was: unkept, Why: "the backup keeps the formats and the data"})
	}
}

// Broken reports whether the image will never be active.
func (i *Image) Broken() bool { return slices.Contains(ready.Failure, i.Status) }

// Holds reports whether the image may be made of data with a checksum. Images from
// before Glance computed checksums have none.
func (i *Image) Holds(checksum *string) bool {
	return i.Checksum == nil || checksum == nil || strings.EqualFold(*i.Checksum, *checksum)
}

func (i *Image) hash() Hash {
	return Hash{MD5: text(i.Checksum), Algo: text(i.HashAlgo), Value: text(i.HashValue)}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Client is a plugin's access to Glance. All its waits share their listings.
type Client struct{ client *remote.Client }

// NewClient returns the access to Glance of a plugin. connect makes a client for the
// caller of a context.
func NewClient(cfg poll.Config, connect func(context.Context) (*gophercloud.ServiceClient, error)) *Client {
	return &Client{remote.NewClient(cfg, connect)}
}

// Glance is Glance as one caller sees it.
type Glance struct {
	*gophercloud.ServiceClient
	service *remote.Service
}

// For returns Glance for the caller of ctx.
func (c *Client) For(ctx context.Context) (*Glance, error) {
	service, err := c.client.For(ctx)
	if err != nil {
		return nil, err
	}
	return &Glance{service.ServiceClient, service}, nil
}

// Image returns an image.
func (g *Glance) Image(ctx context.Context, id string) (*Image, error) {
	return openstack.Show[Image](ctx, g.ServiceClient, "images", id, "")
}

// Images lists the images with a name and other properties.
func (g *Glance) Images(ctx context.Context, query url.Values) ([]Image, error) {
	return openstack.List[Image](ctx, g.ServiceClient, "images", "images", query)
}

// Active returns an image when it is active. It looks first: an image that is ready
// costs one call.
func (g *Glance) Active(ctx context.Context, id string) (*Image, error) {
	image, err := g.Image(ctx, id)
	if err == nil && image.Status == "active" {
		return image, nil
	}
	if err := g.await(ctx, id); err != nil {
		return nil, err
	}
	return g.Image(ctx, id)
}

// Await waits until an image is active, with one listing for all that wait.
func (g *Glance) Await(ctx context.Context, id string) error {
	if err := g.await(ctx, id); err != nil {
		return fmt.Errorf("waiting for image %s: %w", id, err)
	}
	return nil
}

func (g *Glance) await(ctx context.Context, id string) error {
	return g.service.Until(ctx, "glance", "images", poll.Wait{ID: id, Statuses: ready, Source: g})
}

// Remove deletes an image. An image that is gone is no error.
func (g *Glance) Remove(ctx context.Context, id string) error {
	_, err := g.Delete(ctx, g.ServiceURL("images", url.PathEscape(id)), &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusNoContent, http.StatusNotFound},
	})
	if err != nil {
		return fmt.Errorf("deleting image %s: %w", id, err)
	}
	return nil
}

// RemoveAll deletes the images that a query finds, and the known one, if any.
func (g *Glance) RemoveAll(ctx context.Context, query url.Values, known string) error {
	images, err := g.Images(ctx, query)
	failures := []error{err}
	if known != "" && !slices.ContainsFunc(images, func(i Image) bool { return i.ID == known }) {
		images = append(images, Image{ID: known})
	}
	for _, i := range images {
		failures = append(failures, g.Remove(ctx, i.ID))
	}
	return hook.Join(failures...)
}

// Create makes an image without data.
func (g *Glance) Create(ctx context.Context, id, name string, about Metadata) error {
	body := map[string]any{"id": id, "name": name}
	if about.DiskFormat != nil {
		body["disk_format"] = *about.DiskFormat
	}
	if about.ContainerFormat != nil {
		body["container_format"] = *about.ContainerFormat
	}
	if _, err := g.Post(ctx, g.ServiceURL("images"), body, nil, nil); err != nil {
		return fmt.Errorf("creating image %s: %w", id, err)
	}
	return nil
}

var _ poll.Source = (*Glance)(nil)

// Page implements poll.Source: the newest of the caller's own images first. The
// marker is the query of the next page.
func (g *Glance) Page(ctx context.Context, marker string) (map[string]poll.Status, string, error) {
	if marker == "" {
		marker = url.Values{"owner": {g.service.Project}, "sort": {"created_at:desc"}, "limit": {"1000"}}.Encode()
	}
	images, next, err := openstack.Page[Image](ctx, g.ServiceClient, "images", "images", marker)
	page := make(map[string]poll.Status, len(images))
	for _, i := range images {
		page[i.ID] = poll.Status{Text: i.Status}
	}
	return page, next, err
}

// Show implements poll.Source.
func (g *Glance) Show(ctx context.Context, id string) (poll.Status, error) {
	image, err := g.Image(ctx, id)
	if openstack.IsNotFound(err) {
		return poll.Status{Text: poll.NotFound}, nil
	}
	if err != nil {
		return poll.Status{}, err
	}
	return poll.Status{Text: image.Status}, nil
}
