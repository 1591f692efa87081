// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// postbox is where replies go: nowhere, until the queue is there.
type postbox struct {
	mu       sync.Mutex
	there    map[string]bool
	attempts map[string]int
	taken    []string
}

func newPostbox() *postbox { return &postbox{there: map[string]bool{}, attempts: map[string]int{}} }

// open makes a queue.
func (p *postbox) open(queue string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.there[queue] = true
}

// seen waits until all others are idle.
func (p *postbox) seen() (attempts map[string]int, taken []string) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.attempts), slices.Clone(p.taken)
}

// send has a reply sent in a goroutine of a bubble, where all others are idle then.
func (p *postbox) send(ctx context.Context, l *LateReplies, queue, text string) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- l.Send(ctx, queue, func() []byte { return []byte(text) }, func(body []byte) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.attempts[queue]++
			if !p.there[queue] {
				return ErrUndeliverable
			}
			p.taken = append(p.taken, string(body))
			return nil
		})
	}()
	synctest.Wait()
	return done
}

// However many replies wait for one queue, one of them is tried.
func TestChecklist28_OneRetryForEachMissingQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, p := NewLateReplies(time.Minute), newPostbox()
		var all []<-chan error
		for i := range 100 {
			all = append(all, p.send(t.Context(), l, "reply_a", fmt.Sprint(i)))
		}
		other := p.send(t.Context(), l, "reply_b", "other")
		time.Sleep(10*lateRetry + time.Millisecond)
		if attempts, _ := p.seen(); attempts["reply_a"] != 11 {
			t.Errorf("%d attempts in ten pauses", attempts["reply_a"])
		}
		p.open("reply_a")
		time.Sleep(lateRetry)
		_, taken := p.seen()
		for i, done := range all {
			if err := <-done; err != nil || taken[i] != fmt.Sprint(i) {
				t.Errorf("reply %d: %v, and %s in its place", i, err, taken[i])
			}
		}
		if err := <-p.send(t.Context(), l, "reply_a", "next"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if err := <-other; !errors.Is(err, ErrUndeliverable) {
			t.Errorf("the other queue: %v", err)
		}
		if len(l.missing) != 0 || l.waiting.Len() != 0 || l.bytes != 0 {
			t.Errorf("left: %d queues, %d replies, %d bytes", len(l.missing), l.waiting.Len(), l.bytes)
		}
	})
}

func TestChecklist28_OldestLateRepliesAreDropped(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"number": "", "bytes": string(make([]byte, 1<<20))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, p := NewLateReplies(time.Minute), newPostbox()
				limit := maxLate
				if body != "" {
					limit = maxLateBytes / len(body)
				}
				var all []<-chan error
				for i := range limit + 50 {
					all = append(all, p.send(t.Context(), l, fmt.Sprint("reply_", i%3), body))
				}
				for i, done := range all {
					select {
					case err := <-done:
						if i >= 50 || !errors.Is(err, ErrUndeliverable) {
							t.Errorf("reply %d was dropped: %v", i, err)
						}
					default:
						if i < 50 {
							t.Errorf("reply %d waits", i)
						}
					}
				}
				for i := range 3 {
					p.open(fmt.Sprint("reply_", i))
				}
				time.Sleep(lateRetry)
				if _, taken := p.seen(); len(taken) != limit {
					t.Errorf("%d replies were delivered", len(taken))
				}
			})
		})
	}
}

// A queue that was given up is not tried for a minute, and all that waits for it is
// given up with it.
func TestChecklist28_GoneQueuesAreRememberedForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, p := NewLateReplies(10*time.Second), newPostbox()
		first, second := p.send(t.Context(), l, "reply_a", "1"), p.send(t.Context(), l, "reply_a", "2")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, done := range []<-chan error{first, second} {
			if err := <-done; !errors.Is(err, ErrUndeliverable) {
				t.Error(err)
			}
		}
		p.open("reply_a")
		before, _ := p.seen()
		time.Sleep(58 * time.Second)
		if err := <-p.send(t.Context(), l, "reply_a", "3"); !errors.Is(err, ErrUndeliverable) {
			t.Errorf("tried too early: %v", err)
		}
		if after, _ := p.seen(); after["reply_a"] != before["reply_a"] {
			t.Error("tried too early")
		}
		time.Sleep(2 * time.Second)
		if err := <-p.send(t.Context(), l, "reply_a", "4"); err != nil {
			t.Errorf("remembered for too long: %v", err)
		}
		for i := range maxGone + 10 {
			l.markGone(fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		if _, ok := l.gone["9"]; ok || len(l.gone) != maxGone {
			t.Errorf("%d queues are remembered", len(l.gone))
		}
	})
}

// One whose caller ends lets the next have its turn.
func TestLateReplyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, p := NewLateReplies(time.Minute), newPostbox()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := p.send(ctx, l, "reply_a", "1"), p.send(t.Context(), l, "reply_a", "2")
		waiting := p.send(ctx, l, "reply_a", "3")
		cancel()
		for _, done := range []<-chan error{first, waiting} {
			if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUndeliverable) {
				t.Error(err)
			}
		}
		p.open("reply_a")
		err := <-second
		if _, taken := p.seen(); err != nil || len(taken) != 1 {
			t.Errorf("%v, %v", err, taken)
		}
	})
}

// With many missing queues there are no more attempts than Python's threads make.
func TestManyMissingQueuesShareTheAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, p := NewLateReplies(time.Minute), newPostbox()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxLate {
			p.send(ctx, l, fmt.Sprint("reply_", i), "x")
		}
		count := func() (n int) {
			attempts, _ := p.seen()
			for _, of := range attempts {
				n += of
			}
			return n
		}
		time.Sleep(10 * time.Second)
		before := count()
		time.Sleep(20 * time.Second)
		if n := (count() - before) / 20; n > 4*DefaultWorkers || n < DefaultWorkers {
			t.Errorf("%d attempts a second", n)
		}
		cancel()
		synctest.Wait()
	})
}
