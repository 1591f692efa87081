// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/remark"
)

// remarksKey is an object beside index.json that the original does not know, and leaves
// alone. A checkpoint of which nothing was remarked has none.
const remarksKey = "remarks.json"

// ErrRemarks is in the chain of every error about the content of a remarks.json, which
// reading it again does not mend.
var ErrRemarks = errors.New("remarks.json is not what was written")

func remarksPath(id string) string { return id + "/" + remarksKey }

// PutRemarks stores what is said of the checkpoint's resources, if there is anything to
// say. Seal signs it with the objects of the resources.
func (c *Checkpoint) PutRemarks(ctx context.Context, d remark.Document) error {
	if d.Empty() {
		return nil
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding the remarks of checkpoint %s: %w", c.id, err)
	}
	section, err := c.section(c.id)
	if err != nil {
		return err
	}
	return section.PutBytes(ctx, remarksKey, text)
}

// Remarks reads what PutRemarks has stored; a checkpoint that is being deleted has none any
// more. It fails with ErrRemarks if that cannot be read, is of a later version, or is not
// what was signed.
func (c *Checkpoint) Remarks(ctx context.Context) (d remark.Document, err error) {
	switch c.Status() {
	case Deleting, Deleted, ErrorDeleting:
		return d, nil
	}
	section, err := c.section(c.id)
	if err != nil {
		return d, err
	}
	text, err := section.GetBytes(ctx, remarksKey)
	switch {
	case errors.Is(err, bank.ErrNotFound):
		return d, nil
	case errors.Is(err, bank.ErrAltered), errors.Is(err, bank.ErrUnusable):
		return d, fmt.Errorf("%w: %w", ErrRemarks, err)
	case err != nil:
		return d, err
	}
	key := section.Path() + remarksKey
	if err := json.Unmarshal(text, &d); err != nil {
		return remark.Document{}, fault.BankGetObjectFailed(key, "it is not JSON of the expected form").WithCause(fmt.Errorf("%w: %w", ErrRemarks, err))
	}
	if d.Version != remark.Version {
		err := fmt.Errorf("%w: version %d is not known", ErrRemarks, d.Version)
		return remark.Document{}, fault.BankGetObjectFailed(key, err.Error()).WithCause(err)
	}
	return remark.Merge(d, remark.Document{}), nil // within the bounds, whoever has written it
}

// removeRemarks deletes what PutRemarks has stored.
func (c *Checkpoint) removeRemarks(ctx context.Context) error {
	err := c.collection.checkpoints.Delete(ctx, remarksPath(c.id))
	if errors.Is(err, bank.ErrNotFound) {
		return nil
	}
	return err
}
