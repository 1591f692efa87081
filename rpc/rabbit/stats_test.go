// SPDX-License-Identifier: Apache-2.0

package rabbit_test

import (
	"errors"
	"testing"

	"github.com/karbor-project/karbor/rpc"
)

func TestStatsOfATransport(t *testing.T) {
	t.Parallel()
	u := brokerURL(t)
	w := newWire(t, u)
	o := fast()
	o.MissingConsumerTimeout = 0
	tr := connect(t, u, o)
	if s := tr.Stats(); s.Consuming || s.Consume.Connections != 0 || s.Undeliverable != 0 {
		t.Errorf("before anything: %+v", s)
	}
	target := rpc.Target{Topic: "r" + rpc.NewID()[:10], Server: "one"}
	w.queues[target.Topic], w.queues[target.Topic+".one"] = true, true
	l, err := tr.Listen(t.Context(), target, rpc.ListenOptions{}, func(rpc.Incoming) {})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "consuming", func() bool { return tr.Stats().Consuming })
	// Each reply to a missing queue counts, also those that are not even tried.
	for want := range uint64(2) {
		err := tr.Reply(t.Context(), "reply_"+target.Topic, func() []byte { return []byte("{}") })
		if got := tr.Stats().Undeliverable; !errors.Is(err, rpc.ErrUndeliverable) || got != want+1 {
			t.Errorf("%d undeliverable, %v", got, err)
		}
	}
	if err := l.Cancel(t.Context()); err != nil {
		t.Error(err)
	}
	if tr.Stats().Consuming {
		t.Error("consuming after the cancel")
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
