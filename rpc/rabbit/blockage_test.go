// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

func TestBlockedTimeAddsUp(t *testing.T) {
	t.Parallel()
	s := &session{conn: &connection{}, unblockedGate: make(chan struct{})}
	close(s.unblockedGate)
	block := func(active bool) { s.block(amqp.Blocking{Active: active}, rpc.OrDiscard(nil)) }
	if s.blockedTime() != 0 || s.isBlocked() {
		t.Error("blocked from the start")
	}
	block(true)
	block(true) // a second alarm
	first := s.blockedTime()
	if first <= 0 || !s.isBlocked() {
		t.Errorf("blocked for %v", first)
	}
	block(false)
	total := s.blockedTime()
	if total < first || s.blockedTime() != total || s.isBlocked() {
		t.Errorf("%v, then %v", first, total)
	}
	block(true)
	s.openGate()
	if s.isBlocked() || s.blockedTime() <= total {
		t.Error("a lost connection stays blocked")
	}
}
