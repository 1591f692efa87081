// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
)

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: volume_glance_plugin.py
type metadata struct {
	VolumeID string          `json:"volume_id"`
	Size     int             `json:"volume_size"` // GiB
	Chunks   imagedata.Count `json:"chunks_num"`
	Image    imageMetadata   `json:"image_metadata"`
}

// imageMetadata is what is kept of the image. Null in Glance is nil.
type imageMetadata struct {
	Checksum        *string `json:"checksum"` // MD5 of the data in hex
	DiskFormat      *string `json:"disk_format"`
	ContainerFormat *string `json:"container_format"`
}

// whole reads the data, to find what is missing or changed.
func whole(ctx context.Context, c *protection.Call) error {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	return imagedata.LookAtData(ctx, c, about.Chunks, about.Image.Checksum)
}
