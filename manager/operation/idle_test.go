// SPDX-License-Identifier: Apache-2.0

package operation

import "context"

// Idle waits until nothing is left to do here.
func (e *Engine) Idle(ctx context.Context) error {
	for {
		e.mu.Lock()
		var any *run
		for _, r := range e.runs {
			any = r
			break
		}
		e.mu.Unlock()
		if any == nil {
			return nil
		}
		select {
		case <-any.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
