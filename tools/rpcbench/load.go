// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// openTick is the longest sleep of the open loop; what became due meanwhile leaves
// together, and its latency counts from when it was due.
const openTick = time.Millisecond

// load is one run.
type load struct {
	*settings
	conn     *conn
	template *template

	begin, measure, end time.Time // of the run, of measuring, of new calls
	ended               atomic.Bool
	drained             chan struct{} // closed when the last reply has come
	drain               sync.Once

	mu     sync.Mutex
	due    []time.Duration // since begin, by number of the call; answered when negative
	open   int
	report report

	// These belong to the reading goroutine.
	latency  histogram
	measured uint64 // replies that came while measuring
	tag      uint64
	again    int
}

// linger is how long second answers to the last calls are waited for.
const linger = 250 * time.Millisecond

// answered marks calls in load.due.
const answered = time.Duration(math.MinInt64)

func newLoad(s *settings, c *conn, t *template) *load {
	return &load{settings: s, conn: c, template: t, drained: make(chan struct{}), report: report{Errors: map[string]uint64{}}}
}

// run makes the calls and waits for their replies.
func (l *load) run(ctx context.Context) (*report, error) {
	l.begin = time.Now()
	l.measure = l.begin.Add(l.warmup)
	l.end = l.measure.Add(l.duration)
	if l.calls > 0 {
		l.measure, l.end = l.begin, l.begin.Add(math.MaxInt64/2)
	}
	broken := make(chan error, 2)
	go func() { broken <- l.read() }()
	go func() {
		if err := l.send(ctx); err != nil {
			broken <- err
		}
	}()
	var before time.Duration
	if err := l.until(ctx, broken, time.After(time.Until(l.measure))); err != nil {
		return nil, err
	}
	before = cpuTime()
	enough := time.After(time.Until(l.end))
	if l.calls > 0 {
		enough = nil
	}
	if err := l.until(ctx, broken, enough); err != nil {
		return nil, err
	}
	cpu := cpuTime() - before
	l.stop()
	if err := l.until(ctx, broken, time.After(l.timeout)); err != nil {
		return nil, err
	}
	time.Sleep(linger)
	l.conn.close()
	<-broken
	return l.result(cpu), nil
}

// until waits for the time, the last reply, or what ends the run.
func (l *load) until(ctx context.Context, broken <-chan error, t <-chan time.Time) error {
	select {
	case <-t:
		return nil
	case <-l.drained:
		return nil
	case err := <-broken:
		return fmt.Errorf("connection to the broker: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop says that no call follows.
func (l *load) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended.Store(true)
	if l.open == 0 {
		l.drain.Do(func() { close(l.drained) })
	}
}

// send makes all calls of the open loop, or the first ones of the closed one.
func (l *load) send(ctx context.Context) error {
	if l.rate == 0 {
		for range l.concurrency {
			if err := l.call(true, 1, time.Since(l.begin)); err != nil {
				return err
			}
		}
		return nil
	}
	gap := float64(time.Second) / l.rate
	for n := 0; ctx.Err() == nil && !l.ended.Load(); {
		now := time.Since(l.begin)
		for ; float64(n)*gap <= float64(now) && !l.ended.Load(); n++ {
			if err := l.call(true, 1, time.Duration(float64(n)*gap)); err != nil {
				return err
			}
		}
		time.Sleep(min(openTick, time.Duration(float64(n)*gap)-time.Since(l.begin)))
	}
	return nil
}

// call makes calls that were due at a time.
func (l *load) call(wait bool, count int, due time.Duration) error {
	l.mu.Lock()
	if l.calls > 0 {
		count = min(count, l.calls-len(l.due))
	}
	if l.ended.Load() || count <= 0 {
		l.mu.Unlock()
		return nil
	}
	first := uint64(len(l.due))
	for range count {
		l.due = append(l.due, due)
	}
	l.open += count
	if l.calls > 0 && len(l.due) == l.calls {
		l.ended.Store(true)
	}
	l.mu.Unlock()
	return l.conn.submit(wait, func(b []byte) []byte {
		for i := range uint64(count) {
			b = l.template.append(b, first+i)
		}
		return b
	})
}

// read handles what the broker sends until the connection is closed.
func (l *load) read() error {
	var body []byte
	var method uint32
	var left uint64
	for {
		f, err := l.conn.read()
		if err != nil {
			return err
		}
		switch f.kind {
		case frameMethod:
			if method = f.method(); !l.method(method, f.payload) {
				return unexpected(&f)
			}
		case frameHeader:
			if len(f.payload) < 12 {
				return errMalformed
			}
			left, body = binary.BigEndian.Uint64(f.payload[4:]), body[:0]
		case frameBody:
			if uint64(len(f.payload)) > left {
				return errMalformed
			}
			body = append(body, f.payload...)
			if left -= uint64(len(f.payload)); left == 0 && method == basicDeliver {
				l.receive(body)
			}
		}
		if !l.conn.more() {
			if err := l.settle(); err != nil {
				return err
			}
		}
	}
}

// method handles a method frame and reports whether it was to be expected.
func (l *load) method(m uint32, payload []byte) bool {
	switch m {
	case basicDeliver:
		// consumer tag, then the delivery tag
		at := 5 + int(payload[4])
		if len(payload) < at+8 {
			return false
		}
		l.tag = binary.BigEndian.Uint64(payload[at:])
	case basicAck:
	case basicReturn:
		l.fail("returned")
	case basicNack:
		l.fail("nack")
	default:
		return false
	}
	return true
}

// settle acknowledges what has come together and, in the closed loop, replaces it.
func (l *load) settle() error {
	if l.tag != 0 {
		tag := l.tag
		l.tag = 0
		err := l.conn.submit(false, func(b []byte) []byte {
			w := writer{buf: b}
			w.method(consuming, basicAck).longlong(tag).octet(1).end()
			return w.buf
		})
		if err != nil {
			return err
		}
	}
	again := l.again
	l.again = 0
	if l.rate > 0 || again == 0 {
		return nil
	}
	return l.call(false, again, time.Since(l.begin))
}

func (l *load) fail(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Errors[kind]++
}

// receive counts one reply.
func (l *load) receive(body []byte) {
	a, ok := readAnswer(body)
	if !ok {
		l.fail("unreadable")
		return
	}
	if !a.ending {
		return
	}
	number, ok := l.template.number(a.id)
	now := time.Since(l.begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || number >= uint64(len(l.due)) {
		l.report.Errors["foreign"]++
		return
	}
	due := l.due[number]
	if due == answered {
		l.report.Doubled++
		return
	}
	l.due[number] = answered
	l.again++
	if a.failure != "" {
		l.report.Errors[a.failure]++
	}
	if at := l.begin.Add(now); !at.Before(l.measure) && at.Before(l.end) {
		l.measured++
	}
	if at := l.begin.Add(due); !at.Before(l.measure) && at.Before(l.end) {
		l.latency.add(now - due)
	}
	if l.open--; l.open == 0 && l.ended.Load() {
		l.report.last = now
		l.drain.Do(func() { close(l.drained) })
	}
}

// result sums up; nothing runs any more.
func (l *load) result(cpu time.Duration) *report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.report
	whole := l.duration
	if l.calls > 0 {
		whole = r.last
	}
	r.Sent, r.Lost = uint64(len(l.due)), uint64(l.open)
	r.Calls = l.measured
	r.Seconds = whole.Seconds()
	r.CallsPerSecond = float64(l.measured) / max(whole.Seconds(), 1e-9)
	r.CPUPerCall = cpu / time.Duration(max(l.measured, 1))
	h := &l.latency
	r.P50, r.P90, r.P99, r.P999 = h.quantile(0.5), h.quantile(0.9), h.quantile(0.99), h.quantile(0.999)
	r.Mean, r.Max = h.mean(), h.max
	r.RequestBytes = len(l.template.wire)
	return r
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var errCounts = errors.New("not every call has got its one answer")
