// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
)

// Objects that every plugin of the original keeps in a resource's section.
const (
	StatusKey   = "status"   // raw text, one of the statuses below
	MetadataKey = "metadata" // JSON, the plugin's own
)

// Statuses of a resource in the bank and in a restore or verification.
// karbor: common/constants.py
const (
	StatusProtecting = "protecting"
	StatusAvailable  = "available"
	StatusError      = "error"
	StatusDeleting   = "deleting"
	StatusDeleted    = "deleted"
	StatusRestoring  = "restoring"
)

// cleanupTimeout is how long the writes after a failure may take.
const cleanupTimeout = 30 * time.Second

// parallelDeletes is how many objects of one section are deleted at a time.
const parallelDeletes = 8

// pageSize is how many keys of a section are listed at a time.
const pageSize = 1000

// Cleanup returns a context to clean up after a failure,
// which may have been the end of ctx itself. When the work is handed over, before or
// meanwhile, it ends like ctx: cleaning up is then left to another run.
func Cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	after, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if HandedOver(ctx) {
		cancel(context.Cause(ctx))
	}
	stop := context.AfterFunc(ctx, func() {
		if HandedOver(ctx) {
			cancel(context.Cause(ctx))
		}
	})
	after, end := context.WithTimeout(after, cleanupTimeout)
	return after, func() {
		stop()
		end()
		cancel(nil)
	}
}

// CheckSection fails when the resource has no section, because its id cannot be
// part of a key of the bank.
func (c *Call) CheckSection() error {
	if c.Section == nil {
		return fault.InvalidParameterValue("The id of the resource cannot be a key of the bank: " + c.Resource.ID)
	}
	return nil
}

// CheckBackup fails when the resource has no section, and when an object in it is not the
// one that a signed checkpoint has. Hooks call it before they read a backup.
func (c *Call) CheckBackup(ctx context.Context) error {
	if err := c.CheckSection(); err != nil {
		return err
	}
	return c.Section.Check(ctx)
}

// PutStatus writes the status of the resource into the bank.
func (c *Call) PutStatus(ctx context.Context, status string) error {
	if err := c.CheckSection(); err != nil {
		return err
	}
	return c.Section.PutText(ctx, StatusKey, status)
}

// PutError writes the status "error" into the bank, whatever became of ctx,
// unless the work is handed over. The error of the hook matters more than that of
// this write, which is logged.
func (c *Call) PutError(ctx context.Context) {
	if HandedOver(ctx) {
		return
	}
	ctx, cancel := Cleanup(ctx)
	defer cancel()
	if err := c.PutStatus(ctx, StatusError); err != nil {
		c.Logger().Warnf("status of %s stays as it is: %s", c.Resource.Key(), fault.Detail(err))
	}
}

// DeleteObjects deletes the objects of the section whose keys begin with prefix
// and are wanted. One that is gone already counts as deleted.
func (c *Call) DeleteObjects(ctx context.Context, prefix string, wanted func(key string) bool) error {
	page := bank.ListOptions{Prefix: prefix, Limit: pageSize}
	for {
		keys, err := c.Section.List(ctx, page)
		if err != nil {
			return err
		}
		more := len(keys) == pageSize
		if more {
			page.Marker = keys[len(keys)-1]
		}
		if err := c.DeleteKeys(ctx, slices.DeleteFunc(keys, func(key string) bool { return !wanted(key) })); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// DeleteKeys deletes objects of the section. One that is gone already counts as deleted.
func (c *Call) DeleteKeys(ctx context.Context, keys []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDeletes)
	for _, key := range keys {
		group.Go(func() error {
			err := c.Section.Delete(ctx, key)
			if errors.Is(err, bank.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
