// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// soonEnough is a deadline for what takes milliseconds.
const soonEnough = time.Minute

// A channel that refuses every message is left, for requests and for replies, and
// closed once nothing is under way on it; no sender notices.
func TestChannelThatRefusesIsLeft(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(context.Context, *Transport) error{
		"request": func(ctx context.Context, tr *Transport) error {
			return rpc.NewClient(tr, rpc.Target{Topic: "t"}, rpc.ClientOptions{}).Cast(ctx, nil, "m", nil)
		},
		"reply": func(ctx context.Context, tr *Transport) error {
			return tr.Reply(ctx, "reply_q", func() []byte { return []byte("{}") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newPicky(t, keeping(func(channel int) bool { return channel > 1 }))
				tr := b.transport()
				ctx, cancel := context.WithTimeout(t.Context(), soonEnough)
				defer cancel()
				var senders sync.WaitGroup
				for range 2 * confirmWindow {
					senders.Go(func() {
						if err := send(ctx, tr); err != nil {
							t.Error(err)
						}
					})
				}
				senders.Wait()
				select {
				case n := <-b.closed:
					if n != 1 {
						t.Errorf("the client closed channel %d", n)
					}
				case <-ctx.Done():
					t.Error("the channel that refuses stays open")
				}
				if err := send(ctx, tr); err != nil {
					t.Error(err)
				}
				used := make(map[int]bool)
				for _, m := range b.messages() {
					used[m.channel] = true
				}
				if len(used) != 2 || !used[1] || !used[2] {
					t.Errorf("messages came on %v", used)
				}
			})
		})
	}
}

// A broker that refuses for good is an error, after no more attempts than the
// sender allows.
func TestRefusalForGood(t *testing.T) {
	t.Parallel()
	b := newPicky(t, keeping(func(int) bool { return false }))
	tr := b.transport()
	ctx, cancel := context.WithTimeout(t.Context(), soonEnough)
	defer cancel()
	once := 0
	for _, c := range []struct {
		retry *int
		want  int
	}{{nil, maxNacks}, {&once, 1}} {
		before := len(b.messages())
		err := tr.Send(ctx, rpc.Target{Topic: "t"}, rpc.Publishing{Body: []byte("{}"), Retry: c.retry})
		if !errors.Is(err, rpc.ErrDelivery) || !errors.Is(err, errNack) {
			t.Errorf("error is %v", err)
		}
		if got := len(b.messages()) - before; got != c.want {
			t.Errorf("%d attempts, want %d", got, c.want)
		}
	}
}
