// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"

	"github.com/karbor-project/karbor/providers/protection"
)

// Created is what a State remembers of a thing that is created once.
type Created struct {
	// Asked: the service has been, or is about to be, asked for it.
	Asked bool   `json:"asked,omitempty"`
	ID    string `json:"id,omitempty"`
	Size  int    `json:"size,omitempty"` // GiB, where the service counts in whole ones
	// Uncertain: a run has asked and does not know the answer, so that there may be
	// a duplicate, even if none was to be found at once.
	Uncertain bool `json:"doubt,omitempty"`
}

// Once creates a thing and saves its id, unless an earlier run has created it. If a run is
// interrupted after its request and before the answer, the next one finds the thing. The
// thing may still be under construction when Once returns; its status shows whether an
// earlier run has failed.
//
// save keeps the State that created is a part of. find lists what earlier runs have
// created.
func Once(
	ctx context.Context, created *Created, save func() error,
	find func(context.Context) ([]Created, error), create func(context.Context) (Created, error),
) error {
	if created.ID != "" {
		return nil
	}
	adopt := func() (bool, error) {
		found, err := find(ctx)
		if err != nil || len(found) == 0 {
			return false, err
		}
		created.Asked, created.ID, created.Size = true, found[0].ID, found[0].Size
		return true, save()
	}
	created.Uncertain = created.Uncertain || created.Asked
	if created.Uncertain {
		if found, err := adopt(); found || err != nil {
			return err
		}
	}
	created.Asked = true
	if err := save(); err != nil {
		return err
	}
	answer, err := create(ctx)
	if err != nil {
		// What an earlier run has asked for may be in the way, and there by now.
		if created.Uncertain && protection.Handover(ctx, err) == nil {
			if found, _ := adopt(); found {
				return nil
			}
		}
		return err
	}
	created.ID, created.Size = answer.ID, answer.Size
	return save()
}
