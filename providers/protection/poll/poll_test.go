// SPDX-License-Identifier: Apache-2.0

package poll

import (
	"context"
	"errors"
	"testing"
	"time"
)

var states = Statuses{Success: []string{"active"}, Failure: []string{"error", NotFound}, Ignore: []string{"saving"}}

// clock is a time that only sleeping moves.
type clock struct {
	now   time.Time
	waits []time.Duration
}

func (c *clock) options(o Options) Options {
	o.Now = func() time.Time { return c.now }
	o.Sleep = func(ctx context.Context, d time.Duration) error {
		c.waits = append(c.waits, d)
		c.now = c.now.Add(d)
		return context.Cause(ctx)
	}
	o.Jitter = func(d time.Duration) time.Duration { return d }
	return o
}

func answers(statuses ...string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		status := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		return status, nil
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		statuses   []string
		unexpected bool
		want       error
		waits      int
	}{
		"at once":            {[]string{"active"}, false, nil, 0},
		"later":              {[]string{"saving", "saving", "active"}, false, nil, 2},
		"failure":            {[]string{"saving", "error"}, false, &StatusError{"error", true}, 1},
		"gone":               {[]string{NotFound}, false, &StatusError{NotFound, true}, 0},
		"unexpected":         {[]string{"dancing"}, false, &StatusError{"dancing", false}, 0},
		"unexpected, passed": {[]string{"dancing", "active"}, true, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &clock{}
			s := states
			s.IgnoreUnexpected = tc.unexpected
			err := Until(t.Context(), c.options(Options{Interval: time.Second}), s, answers(tc.statuses...))
			var want, got *StatusError
			if errors.As(tc.want, &want) {
				if !errors.As(err, &got) || *got != *want {
					t.Errorf("got %v, not %v", err, want)
				}
			} else if err != nil {
				t.Errorf("got %v", err)
			}
			if len(c.waits) != tc.waits {
				t.Errorf("waits %v", c.waits)
			}
		})
	}
}

func TestUntilCountsTheTimeOfALook(t *testing.T) {
	t.Parallel()
	c := &clock{}
	looks := 0
	err := Until(t.Context(), c.options(Options{Interval: 10 * time.Second}), states, func(context.Context) (string, error) {
		looks++
		c.now = c.now.Add(time.Duration(looks) * 4 * time.Second)
		if looks == 4 {
			return "active", nil
		}
		return "saving", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{6 * time.Second, 2 * time.Second, 0}
	for i, d := range want {
		if c.waits[i] != d {
			t.Errorf("waits are %v, not %v", c.waits, want)
		}
	}
}

func TestUntilDeadline(t *testing.T) {
	t.Parallel()
	c := &clock{}
	err := Until(t.Context(), c.options(Options{Interval: 10 * time.Second, Timeout: 25 * time.Second}), states, answers("saving"))
	if !errors.Is(err, ErrDeadline) || len(c.waits) != 2 {
		t.Errorf("got %v after %v", err, c.waits)
	}
}

func TestUntilCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	err := Until(ctx, Options{Interval: time.Hour}, states, func(context.Context) (string, error) {
		cancel(stop)
		return "saving", nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestUntilPatience(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	run := func(failures int, kind error) error {
		c, looks := &clock{}, 0
		o := c.options(Options{Interval: time.Second, Patience: 2, Transient: func(err error) bool { return err == away }})
		return Until(t.Context(), o, states, func(context.Context) (string, error) {
			looks++
			if looks <= failures {
				return "", kind
			}
			return "active", nil
		})
	}
	if err := run(2, away); err != nil {
		t.Errorf("two failures: %v", err)
	}
	if err := run(3, away); err != away {
		t.Errorf("three failures: %v", err)
	}
	other := errors.New("other")
	if err := run(1, other); err != other {
		t.Errorf("another failure: %v", err)
	}
}

func TestTenth(t *testing.T) {
	t.Parallel()
	for range 100 {
		if d := tenth(time.Second); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatalf("%s is more than a tenth away", d)
		}
	}
	if tenth(0) != 0 {
		t.Error("jitter of nothing")
	}
}
