// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"

	"github.com/karbor-project/karbor/pkg/guard"
)

// refuse returns the context of a request that changes something, which breaks off
// when the guards refuse it. The connection that it has is the last moment for one
// without a body.
func (w *watch) refuse(ctx context.Context) context.Context {
	return guard.Trace(ctx, func(err error) { w.cancel(&guard.RefusedError{Cause: err}) })
}
