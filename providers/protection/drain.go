// SPDX-License-Identifier: Apache-2.0

package protection

import "context"

type drainKey struct{}

// WithDrain returns a context whose hooks learn from ch, when it is closed, that
// the worker is about to stop. It lets them go on for a while, but those that
// merely wait had better stop at once.
func WithDrain(ctx context.Context, ch <-chan struct{}) context.Context {
	return context.WithValue(ctx, drainKey{}, ch)
}

// Draining returns a channel that is closed when the worker is about to stop,
// or nil if nobody will tell. A hook that waits, with all it made found again by
// a second run, selects on it and returns an error that wraps ErrHandover. All
// waits of package poll do.
func Draining(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return ch
}
