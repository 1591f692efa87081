// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"net/http/httptrace"

	"github.com/karbor-project/karbor/bank"
)

// refusedError is the error of a guard, which no further attempt cures.
type refusedError struct{ cause error }

func (e *refusedError) Error() string { return e.cause.Error() }
func (e *refusedError) Unwrap() error { return e.cause }

// refuse returns the context of a request that changes something, which asks the
// guards when there is a connection for it: making one may have taken long. That
// is the last moment for a request without a body, and there is no way but the
// loss of its connection to keep it from being sent.
func (w *watch) refuse(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			if err := bank.Allowed(ctx); err != nil {
				w.cancel(&refusedError{cause: err})
				got.Conn.Close()
			}
		},
	})
}
