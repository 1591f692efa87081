// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"testing"
	"time"
)

func TestPatienceIsShared(t *testing.T) {
	t.Parallel()
	var p sharedTimeout
	defer p.stop()
	parent, cancel := context.WithCancel(t.Context())
	a, _ := p.context(parent, time.Hour)
	if b, done := p.context(parent, time.Hour); a != b {
		t.Error("two contexts at once")
	} else {
		done()
	}
	other, done := p.context(t.Context(), time.Hour)
	if done(); other == a || other.Err() == nil {
		t.Error("a context of another parent is shared")
	}
	longer, done := p.context(parent, 2*time.Hour)
	if done(); longer == a {
		t.Error("one context for two times")
	}
	if a.Err() != nil {
		t.Error("a shared context has been cancelled by one of its users")
	}
	if again, _ := p.context(parent, time.Hour); again != a {
		t.Error("another parent has taken the shared context away")
	}
	cancel()
	<-a.Done()
	deadline, _ := a.Deadline()
	if left := time.Until(deadline); left < time.Hour/2 {
		t.Errorf("the context lasts for %s", left)
	}
}
