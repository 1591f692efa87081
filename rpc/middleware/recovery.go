// SPDX-License-Identifier: Apache-2.0

package middleware

import (
	"context"

	"github.com/karbor-project/karbor/rpc"
)

// Recovery returns a panic of the handler as an error, a *rpc.PanicError. A server does
// the same around all middleware; as the innermost middleware, Recovery lets the others
// see panics as errors.
func Recovery() rpc.Middleware {
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (result any, err error) {
			err = rpc.Guard(func() (err error) {
				result, err = next(ctx, r)
				return err
			})
			return result, err
		}
	}
}
