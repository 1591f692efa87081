// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"

	"github.com/karbor-project/karbor/pkg/guard"
)

// refuse returns the context of a request that changes something. It is cancelled when the guards
// refuse the request. For a request without a body, the guards are last asked when the request gets
// its connection.
func (w *watch) refuse(ctx context.Context) context.Context {
	return guard.Trace(ctx, func(err error) { w.cancel(&guard.RefusedError{Cause: err}) })
}
