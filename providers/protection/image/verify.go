// SPDX-License-Identifier: Apache-2.0

package image

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

// whole finds data objects that are missing or not what was written, which a
// status cannot tell.
func whole(ctx context.Context, c *protection.Call) error {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	if about.Chunks == nil || about.Image == nil {
		return errors.New("The metadata of the image backup is not complete.") //nolint:staticcheck // shown to users
	}
	err := imagedata.Verify(ctx, c.Section, *about.Chunks, about.Image.Checksum, c.Report)
	if protection.Handover(ctx, err) != nil || ctx.Err() != nil {
		return err
	}
	if err != nil {
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
	if err := json.Unmarshal(text, &about); err != nil || about.Chunks == nil {
		return nil, nil
	}
	keys := make([]string, *about.Chunks)
	for i := range keys {
		keys[i] = imagedata.Key(i + 1)
	}
	return keys, nil
}
