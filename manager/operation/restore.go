// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
)

// Restore starts to make new resources out of a checkpoint. The caller has
// checked that the checkpoint is available and may be read. It fails with
// FlowError.
func (e *Engine) Restore(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	return e.read(ctx, protection.Restore, p, cp, rec)
}

// Verify starts to check that a checkpoint's backups are there and whole. The
// caller has checked that the checkpoint is available and may be read. It fails
// with FlowError.
func (e *Engine) Verify(ctx context.Context, p *providers.Provider, cp *checkpoint.Checkpoint, rec Record) error {
	return e.read(ctx, protection.Verify, p, cp, rec)
}
