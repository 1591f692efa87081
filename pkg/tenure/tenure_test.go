// SPDX-License-Identifier: Apache-2.0

package tenure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/tenure"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var errNotHeld = errors.New("not held")

func config(request func(n int) error) tenure.Config {
	n := 0
	return tenure.Config{
		Request: func(context.Context, bool) error { n++; return request(n) },
		Err:     errNotHeld,
		Hold:    10 * time.Second, Margin: 2 * time.Second,
		Renew: 3 * time.Second, Retry: time.Second, Timeout: 20 * time.Second,
	}
}

// A tenure that ran out while a request was under way is over, although nobody
// had noticed when the request was granted: its timer fires late in a process
// that was stopped.
func TestUnnoticedLapse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := config(func(n int) error {
			if n == 2 {
				time.Sleep(6 * time.Second) // from 3 to 9 s, and the tenure ends at 8 s
			}
			return nil
		})
		c.Clock.After = func(d time.Duration) <-chan time.Time {
			if d > 4*time.Second {
				return nil
			}
			return time.After(d)
		}
		events := []string{}
		c.Began = func(again bool) { events = append(events, fmt.Sprintf("began %t", again)) }
		c.Lost = func() { events = append(events, "lost") }
		tn := tenure.New(c)
		defer tn.Stop()
		tn.Start()
		tn.Tried(t.Context())
		ctx, fence := tn.Present()
		time.Sleep(8500 * time.Millisecond)
		if tn.Valid() == nil || ctx.Err() != nil {
			t.Fatalf("the timer did fire, or the clock does not count: %v", tn.Valid())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ctx.Err() == nil || fence() == nil || tn.Valid() != nil {
			t.Errorf("first context %v, its fence %v, now %v", ctx.Err(), fence(), tn.Valid())
		}
		if got := fmt.Sprint(events); got != "[began false lost began true]" {
			t.Errorf("events are %s", got)
		}
	})
}

// The time counts from before the request: an answer that took as long as the
// grant is worth nothing.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := config(func(n int) error {
			if n == 1 {
				time.Sleep(8 * time.Second)
			}
			return nil
		})
		failed := ""
		c.Failed = func(err error) { failed = err.Error() }
		tn := tenure.New(c)
		defer tn.Stop()
		tn.Start()
		tn.Tried(t.Context())
		if err := tn.Valid(); !errors.Is(err, errNotHeld) || !strings.Contains(failed, "too late") {
			t.Errorf("valid gives %v, the failure is %q", err, failed)
		}
		if err := tn.Await(t.Context()); err != nil || tn.Valid() != nil {
			t.Errorf("await gives %v, then %v", err, tn.Valid())
		}
	})
}

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		tn := tenure.New(config(func(int) error {
			if away.Load() {
				return errors.New("away")
			}
			return nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tn.Start()
		if err := tn.Await(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errNotHeld) {
			t.Errorf("await gives %v", err)
		}
		waiting := make(chan error)
		go func() { waiting <- tn.Await(t.Context()) }()
		synctest.Wait()
		away.Store(false)
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		away.Store(true)
		<-tn.Context().Done()
		go func() { waiting <- tn.Await(t.Context()) }()
		synctest.Wait()
		tn.End("enough")
		if err := <-waiting; !errors.Is(err, errNotHeld) {
			t.Errorf("await gives %v after the end", err)
		}
		tn.Start()
		tn.Stop()
	})
}
