// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// keep is the script of a broker that keeps everything.
func keep(taken) fate { return fate{} }

// send publishes a small message to a topic.
func send(ctx context.Context, tr *Transport, topic string) error {
	return tr.Send(ctx, rpc.Target{Topic: topic}, rpc.Publishing{Body: []byte("{}")})
}

// within runs f with a context of that time and checks that f knew it.
func within(t *testing.T, d time.Duration, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	begin := time.Now()
	err := f(ctx)
	if lasted := time.Since(begin); lasted > d {
		t.Errorf("%s with %v of patience came back after %v", what, d, lasted)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: error is %v", what, err)
	}
}

// A broker that hangs in one round trip, whichever it is, holds nobody up for
// longer than the own context, and is left after a time.
func TestNodeThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]uint32{
		"channel.open": channelOpen, "confirm.select": confirmSelect, "exchange.declare": exchangeDeclare,
		"channel.close": channelClose,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newPicky(t, keeping(func(channel int) bool { return channel > 1 }))
				tr := b.transport()
				b.silence(method)
				if method == channelClose {
					// A channel that has refused is closed behind its messages, without them.
					if err := tr.Reply(t.Context(), "reply_q", func() []byte { return []byte("{}") }); err != nil {
						t.Error(err)
					}
				} else {
					var senders sync.WaitGroup
					for range 2 * confirmWindow {
						senders.Go(func() {
							within(t, time.Second, "Send", func(ctx context.Context) error { return send(ctx, tr, "t") })
						})
					}
					senders.Wait()
				}
				time.Sleep(answerTime)
				b.silence(0)
				if err := send(t.Context(), tr, "t"); err != nil {
					t.Error(err)
				}
				if n := b.connections(); n != 2 {
					t.Errorf("%d connections, want a second one", n)
				}
			})
		})
	}
}

// A broker that reads nothing holds nobody up either: not by what fills the way to
// it, and not at the end.
func TestNodeThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, blocked := range []bool{false, true} {
		for _, size := range []int{10, batchLimit} {
			t.Run(fmt.Sprintf("blocked %v, %d bytes", blocked, size), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newPicky(t, keep)
					tr := b.transport()
					if err := send(t.Context(), tr, "t"); err != nil {
						t.Fatal(err)
					}
					b.stall(true)
					body := make([]byte, size)
					var senders sync.WaitGroup
					for i := range 32 {
						senders.Go(func() {
							target := rpc.Target{Topic: fmt.Sprint("t", i%8), Exchange: fmt.Sprint("x", i%4)}
							within(t, time.Second, "Send", func(ctx context.Context) error {
								return tr.Send(ctx, target, rpc.Publishing{Body: body})
							})
						})
					}
					if blocked {
						synctest.Wait() // the broker has noticed that a message comes
						b.block(true)
					}
					senders.Wait()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					begin := time.Now()
					if err := tr.Close(ctx); err != nil {
						t.Error(err)
					}
					if lasted := time.Since(begin); lasted > time.Second {
						t.Errorf("Close with 1 s of patience came back after %v", lasted)
					}
				})
			})
		}
	}
}

// A broker that takes no messages for minutes is not left.
func TestBlockedNodeIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newPicky(t, keep)
		tr := b.transport()
		if err := send(t.Context(), tr, "t"); err != nil {
			t.Fatal(err)
		}
		b.stall(true)
		sent := make(chan error, 1)
		go func() {
			sent <- tr.Send(t.Context(), rpc.Target{Topic: "t", Exchange: "new"}, rpc.Publishing{Body: []byte("{}")})
		}()
		synctest.Wait()
		b.block(true)
		time.Sleep(20 * answerTime)
		b.stall(false)
		b.block(false)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if n := b.connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Queues that confirm nothing hurt nobody else, and the connection stays.
func TestQueueThatDoesNotConfirm(t *testing.T) {
	t.Parallel()
	for _, sick := range []int{1, 40} {
		t.Run(fmt.Sprint(sick), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newPicky(t, func(m taken) fate { return fate{silent: m.key[0] == 's'} })
				// One such queue delays nobody. Many may fill as many channels, each of which
				// is left after a moment.
				longest := time.Duration(0)
				if filled := sick * firstWindow / confirmWindow; filled > 0 {
					longest = time.Duration(filled+1) * slowConfirm * 9 / 8
				}
				tr := b.transport()
				var senders sync.WaitGroup
				for i := range sick {
					for range 400 {
						senders.Go(func() {
							within(t, 2*answerTime, "Send to a queue that does not confirm", func(ctx context.Context) error {
								return send(ctx, tr, fmt.Sprint("sick", i))
							})
						})
					}
				}
				for range 4 * answerTime / time.Second {
					for i := range 16 {
						begin := time.Now()
						if err := send(t.Context(), tr, fmt.Sprint("fine", i)); err != nil {
							t.Error(err)
						}
						if lasted := time.Since(begin); lasted > longest {
							t.Errorf("a message to another queue took %v", lasted)
						}
					}
					time.Sleep(time.Second)
				}
				senders.Wait()
				if n := b.connections(); n != 1 {
					t.Errorf("%d connections", n)
				}
				counts := make(map[taken]int)
				for _, m := range b.messages() {
					if counts[m]++; m.key[0] == 's' && counts[m] > firstWindow {
						t.Fatalf("more than %d messages to a queue that confirms none are on channel %d", firstWindow, m.channel)
					}
				}
			})
		})
	}
}

// A queue that has been silent gets its messages when it is back, on another channel
// than the one that was closed.
func TestQueueThatConfirmsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		b := newPicky(t, func(m taken) fate { return fate{silent: m.key == "sick" && time.Since(begin) < 90*time.Second} })
		tr := b.transport()
		done := make(chan error, 1)
		go func() { done <- send(t.Context(), tr, "sick") }()
		for waiting := true; waiting; {
			select {
			case err := <-done:
				if waiting = false; err != nil {
					t.Error(err)
				}
			case <-time.After(time.Second):
				if err := send(t.Context(), tr, "fine"); err != nil {
					t.Error(err)
				}
			}
		}
		if lasted := time.Since(begin); lasted < 90*time.Second || lasted > 90*time.Second+2*answerTime || b.connections() != 1 {
			t.Errorf("it took %v and %d connections", lasted, b.connections())
		}
	})
}

// A broker that confirms nothing at all is left for another one.
func TestNodeThatDoesNotConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *picky
		b = newPicky(t, func(taken) fate { return fate{silent: b.connections() == 1} })
		tr := b.transport()
		var senders sync.WaitGroup
		for i := range 8 {
			senders.Go(func() {
				if err := send(t.Context(), tr, fmt.Sprint("t", i)); err != nil {
					t.Error(err)
				}
			})
		}
		senders.Wait()
		if n := b.connections(); n != 2 {
			t.Errorf("%d connections, want a second one", n)
		}
	})
}
