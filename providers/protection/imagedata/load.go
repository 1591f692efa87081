// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// Load writes the data objects of the section into an image that has no data yet.
// When the data in the bank is not what the checksum and the manifest say, Glance gets no whole
// upload and the image stays without data; the caller deletes it.
func (t *Transfer) Load(ctx context.Context, count Count, checksum *string) error {
	keys, err := Keys(ctx, t.Section, count)
	if err != nil {
		return err
	}
	manifest, err := readManifest(ctx, t.Section, len(keys))
	if err != nil {
		return err
	}
	progress := &progress{report: t.Report, total: int64(len(keys))}
	data := read(ctx, t.Section, keys, checksum, manifest)
	defer data.Close()
	// All objects but the last are of one size.
	data.Passed = func() { progress.add(1) }
	err = upload(ctx, t.Client, t.ImageID, data)
	cause := data.Err()
	if errors.Is(cause, ErrManifest) {
		return fmt.Errorf("%w: %w", ErrChecksum, cause) // the text that users know
	}
	if cause != nil && cause != io.EOF && !errors.Is(cause, errClosed) {
		return cause // and not the broken connection that follows from it
	}
	return err
}

// upload streams data. It has no length and cannot be sent twice.
// glance: PUT /v2/images/{id}/file
func upload(ctx context.Context, client *gophercloud.ServiceClient, imageID string, data io.Reader) error {
	_, err := client.Put(ctx, client.ServiceURL("images", url.PathEscape(imageID), "file"), data, nil, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"},
		OkCodes:     []int{http.StatusNoContent},
	})
	if err != nil {
		return fmt.Errorf("writing the data of image %s: %w", imageID, err)
	}
	return nil
}
