// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// Known returns the names of objects that a resource's section has, or may have, by its
// metadata. Listings of a store may lag behind.
type Known func(ctx context.Context, c *protection.Call) ([]string, error)

// Purge removes a backup that is wholly in the bank: all objects of the section that
// are listed or known. The metadata goes after the rest, so that a second run knows
// as much as the first and finds less to do.
func Purge(known ...Known) Removal {
	return func(ctx context.Context, c *protection.Call, _ string) error {
		unlisted := map[string]bool{}
		for _, names := range known {
			keys, err := names(ctx, c)
			if err != nil {
				return err
			}
			for _, key := range keys {
				unlisted[key] = true
			}
		}
		err := c.DeleteObjects(ctx, "", func(key string) bool {
			delete(unlisted, key)
			return key != protection.StatusKey && key != protection.MetadataKey
		})
		if err != nil {
			return err
		}
		return c.DeleteKeys(ctx, slices.Collect(maps.Keys(unlisted)))
	}
}

// LookAtStatus looks at the status in the bank. noun is the backup's in the reason,
// "image". whole, which may be nil, looks further at a backup that is available; its
// error's text becomes the reason.
func LookAtStatus(noun string, whole protection.Hook) Look {
	return func(ctx context.Context, c *protection.Call) (status, reason string, err error) {
		status, err = c.Section.GetText(ctx, protection.StatusKey)
		switch {
		case err != nil:
			return protection.StatusError, fault.From(err).Message(), err
		case status != protection.StatusAvailable:
			return status, fmt.Sprintf("The status of %s backup status is %s.", noun, status), nil
		case whole == nil:
			return status, "", nil
		}
		if err := whole(ctx, c); err != nil {
			return protection.StatusError, err.Error(), err
		}
		return status, "", nil
	}
}
