// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
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
	if err := imagedata.Verify(ctx, c.Section, about.Chunks, about.Image.Checksum, c.Report); err != nil {
		return fmt.Errorf("%w.", err) //nolint:staticcheck // shown to users
	}
	return nil
}

// objects names the data objects that the metadata counts. A backup whose
// metadata is missing or no JSON has none to be named; it can be deleted still.
func objects(ctx context.Context, c *protection.Call) ([]string, error) {
	text, err := c.Section.GetBytes(ctx, protection.MetadataKey)
	if errors.Is(err, bank.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var about metadata
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, nil
	}
	keys := make([]string, about.Chunks)
	for i := range keys {
		keys[i] = imagedata.Key(i + 1)
	}
	return keys, nil
}
