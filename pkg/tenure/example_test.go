// SPDX-License-Identifier: Apache-2.0

package tenure_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/pkg/tenure"
)

func Example() {
	errGone := errors.New("the right is gone")
	t := tenure.New(tenure.Config{
		Request: func(context.Context, bool) error { return nil }, // a row in a database, say
		Err:     errGone,
		Hold:    time.Minute, Margin: 10 * time.Second,
		Renew: 20 * time.Second, Retry: 5 * time.Second, Timeout: 5 * time.Second,
	})
	t.Start()
	if err := t.Await(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	ctx, fence := t.Present()
	fmt.Println(fence(), ctx.Err())
	t.End("done")
	fmt.Println(fence(), errors.Is(context.Cause(ctx), errGone))
	// Output:
	// <nil> <nil>
	// the right is gone: done true
}
