// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// copied is how many objects are copied before that is noted in the State, and
// parallelCopies how many of them at a time.
const (
	copiedAtATime  = 64
	parallelCopies = 4
)

// copyState is what a second run of a copy knows of the first.
type copyState struct {
	// After is the last key, in byte order, up to which all objects are copied.
	After string `json:"after"`
}

// Copy returns the operation of a Copy for plugins whose backups are all in the bank:
// it copies the resource's section of Call.Checkpoint into its section of Call.Copy,
// metadata and status last, and its Undo deletes the copied objects. Objects are
// streamed, and each is verified on the way as far as the stores support it. A second
// run continues after the objects that the first is known to have copied.
func (f Frame) Copy(known ...Known) *protection.Operation {
	return &protection.Operation{
		Main: func(ctx context.Context, c *protection.Call) error {
			err := copySection(ctx, c, known)
			if err == nil {
				return nil
			}
			if again := protection.Handover(ctx, err); again != nil {
				return again
			}
			c.PutError(ctx)
			err = protection.Because(ctx, err)
			return fault.CreateResourceFailed(f.Title, Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
		},
		Undo: f.Delete(Purge(known...)),
	}
}

func copySection(ctx context.Context, c *protection.Call, known []Known) error {
	if err := c.CheckSection(); err != nil {
		return err
	}
	source, err := c.Checkpoint.Section(c.Resource.ID)
	if err != nil {
		return fmt.Errorf("section of %s in checkpoint %s: %w", c.Resource.Key(), c.Checkpoint.ID(), err)
	}
	source = source.ReadOnly()
	if err := source.Check(ctx); err != nil {
		return err
	}
	status, err := source.GetText(ctx, protection.StatusKey)
	if err != nil {
		return err
	}
	if status != protection.StatusAvailable {
		return fault.KarborException(fmt.Sprintf("The backup to be copied is in status %s", status))
	}
	if err := c.PutStatus(ctx, protection.StatusProtecting); err != nil {
		return err
	}
	keys, err := copyable(ctx, c, source, known)
	if err != nil {
		return err
	}
	if err := copyObjects(ctx, c, source, keys); err != nil {
		return err
	}
	if _, err := c.Section.CopyFrom(ctx, source, protection.MetadataKey); err != nil {
		return err
	}
	return c.PutStatus(ctx, protection.StatusAvailable)
}

// copyable returns, in byte order, the keys of the objects that a backup is made
// of besides status and metadata.
func copyable(ctx context.Context, c *protection.Call, source *bank.Section, known []Known) ([]string, error) {
	keys, err := source.List(ctx, bank.ListOptions{})
	if err != nil {
		return nil, err
	}
	original := *c
	original.Section = source
	for _, names := range known {
		more, err := names(ctx, &original)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return slices.DeleteFunc(keys, func(key string) bool { return key == protection.StatusKey || key == protection.MetadataKey }), nil
}

func copyObjects(ctx context.Context, c *protection.Call, source *bank.Section, keys []string) error {
	var state copyState
	if err := c.LoadState(ctx, &state); err != nil {
		return err
	}
	done, there := slices.BinarySearch(keys, state.After)
	if there {
		done++
	}
	for done < len(keys) {
		some := keys[done:min(done+copiedAtATime, len(keys))]
		group, copying := errgroup.WithContext(ctx)
		group.SetLimit(parallelCopies)
		for _, key := range some {
			group.Go(func() error {
				_, err := c.Section.CopyFrom(copying, source, key)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		done += len(some)
		state.After = some[len(some)-1]
		if err := c.SaveState(ctx, state); err != nil {
			return err
		}
		c.Report(done * 100 / len(keys))
	}
	return nil
}
