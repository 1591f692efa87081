// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"

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
	if err := imagedata.Verify(ctx, c.Section, *about.Chunks, about.Image.Checksum, c.Report); err != nil {
		return fmt.Errorf("%w.", err) //nolint:staticcheck // shown to users
	}
	return nil
}
