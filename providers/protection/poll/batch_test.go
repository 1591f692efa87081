// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karbor-project/karbor/providers/protection"
)

// cloud is a Source over a map. It counts what it is asked.
type cloud struct {
	mu       sync.Mutex
	statuses map[string]Status
	unlisted map[string]bool
	perPage  int
	fail     func(ctx context.Context) error
	pages    int
	shows    int
	running  int
	most     int // listings at a time
}

func newCloud() *cloud {
	return &cloud{statuses: map[string]Status{}, unlisted: map[string]bool{}, perPage: 1000}
}

func (c *cloud) set(text string, ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.statuses[id] = Status{Text: text}
	}
}

func (c *cloud) asked() (pages, shows int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pages, c.shows
}

func (c *cloud) Page(ctx context.Context, marker string) (map[string]Status, string, error) {
	c.mu.Lock()
	c.pages++
	c.running++
	c.most = max(c.most, c.running)
	fail := c.fail
	c.mu.Unlock()
	select {
	case <-time.After(10 * time.Millisecond): // so that flights would meet
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if fail != nil {
		if err := fail(ctx); err != nil {
			return nil, "", err
		}
	}
	page := map[string]Status{}
	for _, id := range slices.Sorted(maps.Keys(c.statuses)) {
		if id <= marker || c.unlisted[id] {
			continue
		}
		page[id] = c.statuses[id]
		if len(page) == c.perPage {
			return page, id, nil
		}
	}
	return page, "", nil
}

func (c *cloud) Show(ctx context.Context, id string) (Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shows++
	if c.fail != nil {
		if err := c.fail(ctx); err != nil {
			return Status{}, err
		}
	}
	status, ok := c.statuses[id]
	if !ok {
		return Status{Text: NotFound}, nil
	}
	return status, nil
}

var volumes = Key{Service: "cinder", Project: "p", Kind: "volumes"}

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("v%05d", i)
	}
	return ids
}

// waitAll waits for all ids and returns how each ended.
func waitAll(ctx context.Context, b *Batch, source Source, o Options, ids ...string) func() []error {
	ended := make([]error, len(ids))
	var group sync.WaitGroup
	for i, id := range ids {
		group.Go(func() {
			ended[i] = b.Until(ctx, volumes, Wait{ID: id, Statuses: states, Options: o, Source: source})
		})
	}
	return func() []error { group.Wait(); return ended }
}

func TestBatchAsksOnceForMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(500)
		c.set("saving", ids...)
		ended := waitAll(t.Context(), NewBatch(BatchOptions{}), c, Options{}, ids...)
		time.Sleep(time.Minute)
		pages, shows := c.asked()
		if pages < 5 || pages > 8 || shows != 0 {
			t.Errorf("%d listings and %d looks in a minute", pages, shows)
		}
		c.set("active", ids[:499]...)
		c.set("error", ids[499])
		for i, err := range ended() {
			var status *StatusError
			if failed := errors.As(err, &status); failed != (i == 499) || err != nil && !failed {
				t.Errorf("%s: %v", ids[i], err)
			}
		}
		if c.most != 1 {
			t.Errorf("%d listings ran at a time", c.most)
		}
	})
}

func TestBatchLooksAtFewByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(3)
		c.set("active", ids...)
		for _, err := range waitAll(t.Context(), NewBatch(BatchOptions{}), c, Options{}, ids...)() {
			if err != nil {
				t.Error(err)
			}
		}
		if pages, shows := c.asked(); pages != 0 || shows != 3 {
			t.Errorf("%d listings, %d looks", pages, shows)
		}
	})
}

// What no page has is looked at by itself, a few in each interval, and only then
// found or gone.
func TestBatchOfWhatIsNotListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(100)
		c.set("active", ids[:70]...)
		for _, id := range ids[20:70] {
			c.unlisted[id] = true
		}
		b := NewBatch(BatchOptions{Singles: 9, Strays: 9})
		for i, err := range waitAll(t.Context(), b, c, Options{}, ids...)() {
			var status *StatusError
			if gone := errors.As(err, &status) && status.Status == NotFound; gone != (i >= 70) || err != nil && !gone {
				t.Errorf("%s: %v", ids[i], err)
			}
		}
		if _, shows := c.asked(); shows != 80 {
			t.Errorf("%d looks", shows)
		}
	})
}

// Fifty deletions that have ended are all seen to have in one interval: a listing
// does not show what is gone.
func TestBatchOfDeletions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, began := newCloud(), time.Now()
		b := NewBatch(BatchOptions{Interval: 10 * time.Second})
		var group sync.WaitGroup
		for _, id := range names(50) {
			group.Go(func() {
				if err := b.Until(t.Context(), volumes, Wait{ID: id, Statuses: Statuses{Success: []string{NotFound}}, Source: c}); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		group.Wait()
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestBatchReadsNoMorePagesThanItNeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(1000)
		c.perPage = 10
		c.set("active", ids...)
		b := NewBatch(BatchOptions{Pages: 7})
		for _, err := range waitAll(t.Context(), b, c, Options{}, ids[10:30]...)() {
			if err != nil {
				t.Error(err)
			}
		}
		if pages, shows := c.asked(); pages != 3 || shows != 0 {
			t.Errorf("%d pages, %d looks", pages, shows)
		}
		for _, err := range waitAll(t.Context(), b, c, Options{}, ids[60:80]...)() {
			if err != nil {
				t.Error(err)
			}
		}
		if pages, shows := c.asked(); pages > 3+14 || shows == 0 {
			t.Errorf("%d pages, %d looks", pages, shows)
		}
	})
}

func TestBatchDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(100) // of which only some are looked at in time
		began := time.Now()
		s := states
		s.Ignore = append(s.Ignore, NotFound)
		s.Failure = []string{"error"}
		b := NewBatch(BatchOptions{})
		var group sync.WaitGroup
		for _, id := range ids {
			group.Go(func() {
				err := b.Until(t.Context(), volumes, Wait{ID: id, Statuses: s, Options: Options{Timeout: time.Minute}, Source: c})
				if !errors.Is(err, ErrDeadline) {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		group.Wait()
		if waited := time.Since(began); waited > time.Minute {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestBatchPassesOverWhatIsTransient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(20)
		c.set("active", ids...)
		away := errors.New("away")
		began := time.Now()
		c.fail = func(context.Context) error {
			if time.Since(began) < 25*time.Second {
				return away
			}
			return nil
		}
		patient := Options{Transient: func(err error) bool { return errors.Is(err, away) }, Patience: 5}
		b := NewBatch(BatchOptions{})
		short := waitAll(t.Context(), b, c, Options{}, ids[:10]...)
		long := waitAll(t.Context(), b, c, patient, ids[10:]...)
		for i, err := range append(short(), long()...) {
			if failed := errors.Is(err, away); failed != (i < 10) || err != nil && !failed {
				t.Errorf("%s: %v", ids[i], err)
			}
		}
	})
}

type callerKey struct{}

// The token of one caller is no good: the others' are used.
func TestBatchAsksWithOthersRights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(20)
		c.set("saving", ids...)
		c.fail = func(ctx context.Context) error {
			if ctx.Value(callerKey{}) == "expired" {
				return errors.New("401")
			}
			return nil
		}
		b := NewBatch(BatchOptions{})
		bad := waitAll(context.WithValue(t.Context(), callerKey{}, "expired"), b, c, Options{}, ids[:2]...)
		good := waitAll(t.Context(), b, c, Options{}, ids[2:]...)
		time.Sleep(time.Minute)
		c.set("active", ids...)
		for _, err := range append(bad(), good()...) {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestBatchEndsWithItsCallers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(cancel context.CancelCauseFunc, drain chan struct{})
		want error
	}{
		"cancelled": {func(cancel context.CancelCauseFunc, _ chan struct{}) { cancel(&protection.CancelError{By: "u"}) }, protection.ErrCancelled},
		"drained":   {func(_ context.CancelCauseFunc, drain chan struct{}) { close(drain) }, protection.ErrHandover},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, ids := newCloud(), names(40)
				c.set("saving", ids...)
				hung := make(chan struct{})
				tell := sync.OnceFunc(func() { close(hung) })
				c.fail = func(ctx context.Context) error { // a service that never answers
					tell()
					<-ctx.Done()
					return context.Cause(ctx)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				drain := make(chan struct{})
				b := NewBatch(BatchOptions{})
				ended := waitAll(protection.WithDrain(ctx, drain), b, c, Options{}, ids...)
				<-hung
				tc.end(cancel, drain)
				for _, err := range ended() {
					if !errors.Is(err, tc.want) {
						t.Errorf("got %v", err)
					}
				}
				synctest.Wait()
				if len(b.groups) != 0 {
					t.Error("the key is still looked at")
				}
			})
		})
	}
}

func TestBatchReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.statuses["v"] = Status{Text: "saving", Percent: 40}
		var got []int
		time.AfterFunc(15*time.Second, func() { c.set("active", "v") })
		err := NewBatch(BatchOptions{}).Until(t.Context(), volumes, Wait{
			ID: "v", Statuses: states, Source: c, Report: func(percent int) { got = append(got, percent) },
		})
		if err != nil || !slices.Equal(got, []int{40, 40}) {
			t.Errorf("told %v, %v", got, err)
		}
	})
}

// Two waits for one resource, of which one is given up.
func TestBatchOfOneResourceTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set("saving", "v")
		b := NewBatch(BatchOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		given, kept := waitAll(ctx, b, c, Options{}, "v"), waitAll(t.Context(), b, c, Options{}, "v")
		time.Sleep(time.Minute)
		cancel()
		if err := given()[0]; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		c.set("active", "v")
		if err := kept()[0]; err != nil {
			t.Error(err)
		}
	})
}

func TestUntilIsASafePoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		drain := make(chan struct{})
		time.AfterFunc(time.Hour, func() { close(drain) })
		err := Until(protection.WithDrain(t.Context(), drain), Options{Interval: 50 * time.Minute}, states, answers("saving"))
		if !errors.Is(err, protection.ErrHandover) {
			t.Errorf("got %v", err)
		}
		// What can be decided at once still is.
		if err := Until(protection.WithDrain(t.Context(), drain), Options{}, states, answers("active")); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// register lets n waits be on the list, without the goroutines of their callers.
func register(ctx context.Context, b *Batch, source Source, n int) []*waiter {
	waiters := make([]*waiter, n)
	for i, id := range names(n) {
		waiters[i] = &waiter{ctx: ctx, wait: Wait{ID: id, Statuses: states, Source: source}, began: time.Now(), done: make(chan error, 1)}
		b.join(volumes, waiters[i])
	}
	return waiters
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkBatch has 10,000 waits at a time and tells what each costs.
func BenchmarkBatch(b *testing.B) {
	const n = 10_000
	c := newCloud()
	for b.Loop() {
		batch := NewBatch(BatchOptions{Interval: time.Hour})
		goroutines, before := runtime.NumGoroutine(), heap()
		waiters := register(b.Context(), batch, c, n)
		b.ReportMetric(float64(heap()-before)/n, "B/wait")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
		for _, w := range waiters {
			batch.groups[volumes].leave(w)
		}
	}
}

// Not parallel: what other tests allocate would count.
func TestBatchCostsLittle(t *testing.T) {
	const n = 10_000
	b := NewBatch(BatchOptions{Interval: time.Hour})
	before := heap()
	waiters := register(t.Context(), b, newCloud(), n)
	if each := (heap() - before) / n; each > 1024 {
		t.Errorf("%d bytes for each wait", each)
	}
	g := b.groups[volumes]
	for _, w := range waiters {
		g.leave(w)
	}
}

// hanging is a Source that answers no sooner than the call is ended, but for what is
// ready. It counts the calls that go on with the rights of each wait.
type hanging struct {
	caller string
	all    *callCounts
}

type callCounts struct {
	mu    sync.Mutex
	calls map[string]int // by caller
	ready map[string]bool
}

func (h hanging) call(ctx context.Context, id string) (Status, error) {
	h.all.mu.Lock()
	if h.all.ready[id] {
		h.all.mu.Unlock()
		return Status{Text: "active"}, nil
	}
	h.all.calls[h.caller]++
	h.all.mu.Unlock()
	<-ctx.Done()
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.all.calls[h.caller]--
	return Status{}, context.Cause(ctx)
}

func (h hanging) Page(ctx context.Context, _ string) (map[string]Status, string, error) {
	_, err := h.call(ctx, "")
	return nil, "", err
}

func (h hanging) Show(ctx context.Context, id string) (Status, error) { return h.call(ctx, id) }

// Waits come, are cancelled and drained in every order, while the service hangs. No
// call goes on with the rights of one that has left, whoever waits besides.
func TestNoLookOutlivesItsWait(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { drawLookers(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func drawLookers(t *testing.T, draw *rand.Rand) {
	all := &callCounts{calls: map[string]int{}, ready: map[string]bool{}}
	b := NewBatch(BatchOptions{Singles: 1 + draw.IntN(4)})
	leave := map[string]func(){}
	for n := range 40 {
		name := fmt.Sprint("w", n)
		ctx, cancel := context.WithCancel(t.Context())
		drain, id := make(chan struct{}), fmt.Sprint("v", draw.IntN(6))
		go func() {
			_ = b.Until(protection.WithDrain(ctx, drain), volumes, Wait{ID: id, Statuses: states, Source: hanging{name, all}})
		}()
		t.Cleanup(cancel)
		leave[name] = cancel
		if draw.IntN(2) == 0 {
			leave[name] = func() { close(drain) }
		}
		if draw.IntN(3) == 0 {
			all.mu.Lock()
			all.ready[id] = !all.ready[id]
			all.mu.Unlock()
		}
		time.Sleep(time.Duration(draw.IntN(20)) * time.Second)
		for _, other := range slices.Sorted(maps.Keys(leave)) {
			if draw.IntN(4) > 0 {
				continue
			}
			leave[other]()
			delete(leave, other)
			synctest.Wait()
			all.mu.Lock()
			if calls := all.calls[other]; calls != 0 {
				t.Errorf("%d calls go on with the rights of %s, which has left", calls, other)
			}
			all.mu.Unlock()
		}
	}
	for _, end := range leave {
		end()
	}
	synctest.Wait()
	if len(b.groups) != 0 {
		t.Error("the key is still looked at")
	}
}

// What lends its rights to a listing has what it waits for with the first page, and
// goes: the listing goes on where it was, with the rights of another one.
func TestListingOutlivesItsLenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, ids := newCloud(), names(100)
		c.perPage = 10
		c.set("active", ids...)
		for i, err := range waitAll(t.Context(), NewBatch(BatchOptions{}), c, Options{}, ids...)() {
			if err != nil {
				t.Errorf("%s: %v", ids[i], err)
			}
		}
		if pages, shows := c.asked(); pages != 10 || shows != 0 {
			t.Errorf("%d pages were read and %d resources looked at by themselves", pages, shows)
		}
	})
}
