// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/karbor-project/karbor/rpc"
)

// A link says why it is down until it is up again; one that nobody has used says nothing.
func TestStatsSayWhyALinkIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newPicky(t, keeping(func(int) bool { return true }))
		tr := b.transport()
		var away atomic.Bool
		away.Store(true)
		refused := errors.New("connection refused")
		dial := tr.publishConn.dialer.connect
		tr.publishConn.dialer.connect = func(ctx context.Context, network, address string) (net.Conn, error) {
			if away.Load() {
				return nil, refused
			}
			return dial(ctx, network, address)
		}
		if s := tr.Stats(); s.Publish.Err != nil {
			t.Errorf("before anything: %v", s.Publish.Err)
		}
		send := func(retry *int) error {
			return tr.Send(t.Context(), rpc.Target{Topic: "t"}, rpc.Publishing{Body: []byte("{}"), Retry: retry})
		}
		once := 0
		if err := send(&once); !errors.Is(err, refused) {
			t.Errorf("sending without a broker: %v", err)
		}
		if err := tr.Unreachable(t.Context()); !errors.Is(err, refused) {
			t.Errorf("unreachable: %v", err)
		}
		if s := tr.Stats(); s.Publish.Connected || !errors.Is(s.Publish.Err, refused) || s.Consume.Err != nil {
			t.Errorf("without a broker: %+v", s)
		}
		away.Store(false)
		if err := send(nil); err != nil {
			t.Fatal(err)
		}
		if s := tr.Stats(); !s.Publish.Connected || s.Publish.Err != nil {
			t.Errorf("with a broker: %+v", s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tr.Unreachable(ctx); err != nil {
			t.Errorf("with a broker: unreachable: %v", err)
		}
	})
}
