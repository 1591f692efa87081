// SPDX-License-Identifier: Apache-2.0

package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
)

// Logging logs the end of each request with its method, duration and request id: at
// debug level when the request succeeded, otherwise as a warning with the error.
// Arguments and results are never logged.
func Logging(log logrus.FieldLogger) rpc.Middleware {
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (any, error) {
			begin := time.Now()
			result, err := next(ctx, r)
			entry := log.WithFields(logrus.Fields{
				"method": r.Method, "duration": time.Since(begin).Round(time.Microsecond).String(), "unique_id": r.UniqueID,
			})
			// The id of the user's request is the same in the logs of all services.
			if id := r.Context["request_id"]; len(id) > 2 && id[0] == '"' {
				entry = entry.WithField("request_id", string(id[1:len(id)-1]))
			}
			switch {
			case err == nil:
				entry.Debug("request answered")
			case errors.Is(context.Cause(ctx), rpc.ErrAbandoned):
				entry.WithError(err).Warn("request ended, its caller no longer waits")
			default:
				entry.WithError(err).Warn("request failed")
			}
			return result, err
		}
	}
}
