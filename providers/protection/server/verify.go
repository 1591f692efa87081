// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// whole finds what a restore would miss in the metadata.
func whole(ctx context.Context, c *protection.Call) error {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	if about.ResourceID == "" || about.Server.Flavor == "" {
		return errors.New("The metadata of the server backup is not complete.") //nolint:staticcheck // shown to users
	}
	if !about.Boot.known() {
		return errors.New(noBootDevice + ".")
	}
	return nil
}

// noBootDevice is the failure of a server that cannot be booted.
const noBootDevice = "Can not find the boot device of the server"

// known reports whether it is known what a server was booted from.
func (b boot) known() bool {
	return b.Device == bootImage && b.ImageID != "" || b.Device == bootVolume && b.VolumeID != ""
}
