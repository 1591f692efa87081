// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"context"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// Purge removes a backup that is made of data objects.
var Purge = hook.Purge(KnownObjects, knownManifest)

// BackUp writes the data of an image and their manifest into the section of a call. It
// returns how many data objects there are. What a run before this one has written
// beyond these is deleted: its image may have been a larger one.
func (g *Glance) BackUp(ctx context.Context, c *protection.Call, image *Image, objectSize int) (Count, error) {
	transfer := Transfer{Client: g.ServiceClient, ImageID: image.ID, Section: c.Section, Report: c.Report}
	written, err := transfer.Store(ctx, objectSize, image.Size, image.hash())
	if err != nil {
		return 0, err
	}
	count := len(written.Objects)
	if err := c.DeleteObjects(ctx, Prefix, func(key string) bool { return Number(key) > count }); err != nil {
		return 0, err
	}
	return Count(count), written.Write(ctx, c.Section)
}

// Restore writes the data objects of a section into an image that has none, and waits
// until it is active.
func (g *Glance) Restore(ctx context.Context, c *protection.Call, id string, count Count, checksum *string) error {
	err := g.restore(ctx, c, id, count, checksum)
	for _, known := range []error{ErrCount, ErrChecksum} {
		if errors.Is(err, known) {
			return &hook.Failure{Text: known.Error(), Err: err}
		}
	}
	return err
}

func (g *Glance) restore(ctx context.Context, c *protection.Call, id string, count Count, checksum *string) error {
	transfer := Transfer{Client: g.ServiceClient, ImageID: id, Section: c.Section, Report: c.Report}
	if err := transfer.Load(ctx, count, checksum); err != nil {
		return err
	}
	image, err := g.Active(ctx, id)
	if err != nil {
		return err
	}
	if !image.Holds(checksum) {
		return fmt.Errorf("%w: image %s has %s", ErrChecksum, id, text(image.Checksum))
	}
	return nil
}

// LookAtData reads the data objects, to find what is missing or changed.
func LookAtData(ctx context.Context, c *protection.Call, count Count, checksum *string) error {
	if err := Verify(ctx, c.Section, count, checksum, c.Report); err != nil {
		return fmt.Errorf("%w.", err) //nolint:staticcheck // shown to users
	}
	return nil
}
