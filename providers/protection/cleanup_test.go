// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"testing"

	"github.com/karbor-project/karbor/providers/protection"
)

func TestAftermathEndsWithTheHandover(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	after, end := protection.Cleanup(ctx)
	defer end()
	if after.Err() != nil {
		t.Fatal("it ended before it began")
	}
	cancel(protection.ErrHandover)
	<-after.Done()
	if !protection.HandedOver(after) {
		t.Errorf("ended with %v", context.Cause(after))
	}

	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(&protection.CancelError{By: "u"})
	after, end = protection.Cleanup(ctx)
	defer end()
	if after.Err() != nil {
		t.Error("there is no time to clean up")
	}
}
