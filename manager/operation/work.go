// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
)

// work is what differs between the kinds of operations. Each method may be
// called again after a crash that came at any point of it.
type work interface {
	// open finds or makes the checkpoint and the rows that tell of the operation.
	open(ctx context.Context) error
	// build fills the flow of an operation that is open: its hooks and their order.
	build(ctx context.Context) error
	// begin says that the hooks start.
	begin(ctx context.Context) error
	// complete says that they have all finished.
	complete(ctx context.Context) error
	// fail says that they have not. opened is false when open failed.
	fail(ctx context.Context, opened bool, cause error) error
}

// newWork makes the part that differs.
func newWork(r *run) work {
	switch protection.Kind(r.entry.Kind) {
	case protection.Protect:
		return newProtecting(r)
	case protection.Delete:
		return newDeleting(r)
	case protection.Copy:
		return newCopying(r)
	case protection.Restore, protection.Verify:
		return newReading(r)
	}
	return unknown{r.entry.Kind}
}

// known tells whether there is an operation of a kind.
func known(kind protection.Kind) bool {
	switch kind {
	case protection.Protect, protection.Delete, protection.Copy, protection.Restore, protection.Verify:
		return true
	}
	return false
}

// unknown is an operation of a kind that only a later version knows.
type unknown struct{ kind string }

func (u unknown) open(context.Context) error {
	return permanent(fmt.Errorf("this worker knows no operation %q", u.kind))
}
func (unknown) build(context.Context) error             { return nil }
func (unknown) begin(context.Context) error             { return nil }
func (unknown) complete(context.Context) error          { return nil }
func (unknown) fail(context.Context, bool, error) error { return nil }
