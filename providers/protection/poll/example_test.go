// SPDX-License-Identifier: Apache-2.0

package poll_test

import (
	"context"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/providers/protection/poll"
)

func ExampleUntil() {
	statuses := []string{"creating", "creating", "error"}
	look := func(context.Context) (string, error) {
		status := statuses[0]
		statuses = statuses[1:]
		return status, nil
	}
	err := poll.Until(context.Background(), poll.Options{Interval: time.Millisecond}, poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", poll.NotFound},
		Ignore:  []string{"creating"},
	}, look)
	fmt.Println(err)
	// Output: the status is error
}
