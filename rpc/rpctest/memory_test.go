// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The clock of each check is its own: nothing depends on how fast the machine is.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := NewBroker()
				b.MaxMessage = 1 << 20
				p := Pair{Server: b.Transport(), Client: b.Transport(), Wire: memoryWire{t, b}, MaxMessage: b.MaxMessage}
				t.Cleanup(func() {
					_ = p.Server.(*Transport).Close(t.Context())
					_ = p.Client.(*Transport).Close(t.Context())
				})
				c.run(t, newHarness(t, p))
			})
		})
	}
}

type memoryWire struct {
	t *testing.T
	b *Broker
}

func (w memoryWire) Bind(target rpc.Target) string {
	w.b.Declare(topicQueue(target))
	return topicQueue(target)
}
func (w memoryWire) Declare(queue string) { w.b.Declare(queue) }
func (w memoryWire) Delete(queue string)  { w.b.Delete(queue) }
func (w memoryWire) Len(queue string) int { return w.b.Len(queue) }

func (w memoryWire) Put(queue string, m RawMessage) {
	w.t.Helper()
	if !w.b.Publish(queue, m) {
		w.t.Fatalf("no queue %s", queue)
	}
}

func (w memoryWire) Get(queue string, within time.Duration) (RawMessage, bool) {
	done := make(chan struct{})
	timer := time.AfterFunc(within, func() { close(done) })
	defer timer.Stop()
	return w.b.Get(queue, done)
}
