// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/providers/protection"
)

func TestReasons(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := Join(nil, &Failure{Text: "one", Err: cause}, errors.New("two"))
	if Reason(err) != "one; two" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if Join(nil, nil) != nil {
		t.Error("nothing is an error")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&protection.CancelError{By: "user"})
	if text := Reason(protection.Because(ctx, err)); !strings.Contains(text, "cancelled by user") {
		t.Errorf("got %s", text)
	}
}
