// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// largest is what the brokers of these tests take.
const largest = 1000

// fussy is the script of a broker that closes the channel over some messages.
func fussy(m taken) fate {
	switch {
	case m.size > largest:
		return fate{code: 406, text: fmt.Sprintf("PRECONDITION_FAILED - message size %d is larger than configured max size %d", m.size, largest)}
	case strings.HasPrefix(m.key, "forbidden"):
		return fate{code: 403, text: "ACCESS_REFUSED - access to topic '" + m.key + "' refused"}
	case strings.HasPrefix(m.key, "missing"):
		return fate{code: 404, text: "NOT_FOUND - no exchange 'openstack' in vhost '/'"}
	}
	return fate{silent: strings.HasPrefix(m.key, "sick")}
}

// What the broker refuses costs no other message: each one gets its own answer,
// whatever is under way at the same time.
func TestRefusalsHurtNobodyElse(t *testing.T) {
	t.Parallel()
	for name, guilty := range map[string]struct {
		topic   string
		size    int
		refused error
		reason  string
	}{
		"too large": {"t", largest + 1, rpc.ErrRefused, "1001 bytes, and max_message_size of the broker is 1000"},
		"forbidden": {"forbidden", 10, rpc.ErrRefused, "ACCESS_REFUSED"},
		"missing":   {"missing", 10, rpc.ErrDelivery, "NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newPicky(t, fussy)
				tr := b.transport()
				var senders sync.WaitGroup
				once := 0
				for i := range 32 {
					senders.Go(func() {
						for range 20 {
							// Not even one that is to be tried only once.
							err := tr.Send(t.Context(), rpc.Target{Topic: fmt.Sprint("t", i)}, rpc.Publishing{Body: make([]byte, largest), Retry: &once})
							if err != nil {
								t.Errorf("a message that is fine: %v", err)
								return
							}
						}
					})
				}
				for i := range 8 {
					senders.Go(func() {
						for range 20 {
							target := rpc.Target{Topic: fmt.Sprint(guilty.topic, i)}
							err := tr.Send(t.Context(), target, rpc.Publishing{Body: make([]byte, guilty.size)})
							if !errors.Is(err, rpc.ErrDelivery) || !errors.Is(err, guilty.refused) || !strings.Contains(err.Error(), guilty.reason) {
								t.Errorf("error is %v", err)
								return
							}
						}
					})
				}
				senders.Wait()
				if n := b.connections(); n != 1 {
					t.Errorf("%d connections", n)
				}
				if fine := count(b, func(m taken) bool { return m.size == largest }); fine > 32*20*2 {
					t.Errorf("%d messages for %d", fine, 32*20)
				}
			})
		})
	}
}

func count(b *picky, is func(taken) bool) int {
	n := 0
	for _, m := range b.messages() {
		if is(m) {
			n++
		}
	}
	return n
}

// The limit is asked for once a minute, for operators change it.
func TestLimitIsLearnt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raised := false
		b := newPicky(t, func(m taken) fate {
			if raised {
				return fate{}
			}
			return fussy(m)
		})
		tr := b.transport()
		large := func() error {
			return tr.Send(t.Context(), rpc.Target{Topic: "t"}, rpc.Publishing{Body: make([]byte, largest+1)})
		}
		for range 10 {
			if err := large(); !errors.Is(err, rpc.ErrRefused) {
				t.Errorf("error is %v", err)
			}
		}
		if n := len(b.messages()); n != 1 {
			t.Errorf("the broker was asked %d times", n)
		}
		raised = true
		time.Sleep(limitLasts + time.Second)
		if err := large(); err != nil {
			t.Error(err)
		}
	})
}

// A queue that does not confirm holds up nobody in quarantine either.
func TestQuarantineIsNotHeldUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newPicky(t, fussy)
		tr := b.transport()
		var sick, others sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 8 {
			sick.Go(func() { _ = send(ctx, tr, fmt.Sprint("sick", i)) })
		}
		synctest.Wait()
		begin := time.Now()
		for i := range 8 {
			others.Go(func() {
				if err := send(t.Context(), tr, fmt.Sprint("forbidden", i)); !errors.Is(err, rpc.ErrRefused) {
					t.Errorf("error is %v", err)
				}
			})
		}
		others.Wait()
		if lasted := time.Since(begin); lasted > answerTime || b.connections() != 1 {
			t.Errorf("it took %v and %d connections", lasted, b.connections())
		}
		cancel()
		sick.Wait()
	})
}
