// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// errAbandoned is the cause given to calls that another call's failure made
// pointless.
var errAbandoned = errors.New("abandoned after another failure")

// fetch calls children for each parent, at most parallel at a time, and
// returns the answers in the order of the parents. After a failure the calls
// still running are cancelled and their own outcome does not count, unless
// they too had failed and come earlier in the order.
func fetch(ctx context.Context, parents []Resource, children Children, parallel int) ([][]Resource, error) {
	answers := make([][]Resource, len(parents))
	errs := make([]error, len(parents))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(parents) || ctx.Err() != nil {
				return
			}
			answers[i], errs[i] = children(ctx, parents[i])
			if errs[i] != nil {
				errs[i] = fmt.Errorf("of %s: %w", parents[i].Key(), errs[i])
				cancel(errAbandoned)
				return
			}
		}
	}
	runAll(min(max(parallel, 1), len(parents)), work)

	cause := context.Cause(ctx)
	var first error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errAbandoned) {
			return nil, err
		}
	}
	if cause != nil && !errors.Is(cause, errAbandoned) {
		return nil, cause
	}
	return answers, first
}

// runAll runs n copies of work and waits for them. One copy needs no
// goroutine. A panic in a copy is raised again here, where the caller's
// recover can see it, once all are done.
func runAll(n int, work func()) {
	if n == 1 {
		work()
		return
	}
	var (
		wg       sync.WaitGroup
		panicked atomic.Pointer[any]
	)
	for range n {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panicked.CompareAndSwap(nil, &v)
				}
			}()
			work()
		})
	}
	wg.Wait()
	if v := panicked.Load(); v != nil {
		panic(*v)
	}
}
