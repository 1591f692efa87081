// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// statuses of an image that one waits for. Glance names them; of the original's
// sets, "NotFound" is read as the pseudo status that it stands for, and
// importing, which Glance has since, is waited for.
// glance: common/utils.py, karbor: image_protection_plugin.py
var ready = poll.Statuses{
	Success: []string{"active"},
	Failure: []string{"killed", "deleted", "pending_delete", "deactivated", poll.NotFound},
	Ignore:  []string{"queued", "saving", "uploading", "importing"},
}

// image is what the plugin reads of an image.
type image struct {
	ID              string  `json:"id"`
	Status          string  `json:"status"`
	Size            int64   `json:"size"` // bytes; null reads as 0
	DiskFormat      *string `json:"disk_format"`
	ContainerFormat *string `json:"container_format"`
	Checksum        *string `json:"checksum"`
	HashAlgo        *string `json:"os_hash_algo"`
	HashValue       *string `json:"os_hash_value"`
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

func show(ctx context.Context, client *gophercloud.ServiceClient, id string) (*image, error) {
	return openstack.Show[image](ctx, client, "images", id, "")
}

// await waits until an image is active. It looks first: an image that is ready
// costs one call.
func (p *Plugin) await(ctx context.Context, client *gophercloud.ServiceClient, id string) (*image, error) {
	var last *image
	err := poll.Until(ctx, p.poll, ready, func(ctx context.Context) (string, error) {
		found, err := show(ctx, client, id)
		if openstack.IsNotFound(err) {
			return poll.NotFound, nil
		}
		if err != nil {
			return "", err
		}
		last = found
		return found.Status, nil
	})
	return last, err
}

// remove deletes an image. One that is gone is as good.
func remove(ctx context.Context, client *gophercloud.ServiceClient, id string) error {
	_, err := client.Delete(ctx, client.ServiceURL("images", url.PathEscape(id)), &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusNoContent, http.StatusNotFound},
	})
	return err
}

// failure is an error with a text of the original for users and its cause for
// the log.
type failure struct {
	reason string
	cause  error
}

func (f *failure) Error() string { return f.reason }
func (f *failure) Unwrap() error { return f.cause }

// reason returns what users are told about an error.
func reason(err error) string {
	var ended *protection.EndedError
	if errors.As(err, &ended) {
		return ended.Error()
	}
	var f *failure
	if errors.As(err, &f) {
		return f.reason
	}
	return openstack.Reason(err)
}
