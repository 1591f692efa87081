// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// stallTimeout is how long the peer of a transfer may make no progress. A slow peer is
// accepted; a silent one would make a hook wait for ever.
const stallTimeout = 5 * time.Minute

// errStalled is the cause with which a stalled transfer is cancelled.
var errStalled = errors.New("the transfer makes no progress")

// stall ends calls whose bodies make no progress. Only waits for the peer count, not
// the time that this side takes to produce or consume data.
type stall struct {
	timeout time.Duration
	next    http.RoundTripper
}

// RoundTrip sends the call and watches both bodies.
func (s *stall) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	giveUp := func() { cancel(errStalled) }
	watched := req.WithContext(ctx)
	var sent *sentBody
	if req.Body != nil && req.Body != http.NoBody {
		sent = &sentBody{body: req.Body, timeout: s.timeout, giveUp: giveUp}
		watched.Body = sent
	}
	resp, err := s.next.RoundTrip(watched)
	if sent != nil {
		sent.stop()
	}
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &receivedBody{body: resp.Body, ctx: ctx, cancel: cancel, timeout: s.timeout}
	return resp, nil
}

// sentBody runs a timer while the transport sends the bytes it has read.
type sentBody struct {
	body    io.ReadCloser
	timeout time.Duration
	giveUp  func()

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// Read reads from this side, with the timer stopped.
func (b *sentBody) Read(p []byte) (int, error) {
	b.pause()
	n, err := b.body.Read(p)
	if err == nil {
		b.mu.Lock()
		if !b.ended {
			b.timer = time.AfterFunc(b.timeout, b.giveUp)
		}
		b.mu.Unlock()
	}
	return n, err
}

// Close stops the timer.
func (b *sentBody) Close() error {
	b.stop()
	return b.body.Close()
}

func (b *sentBody) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
}

func (b *sentBody) stop() {
	b.pause()
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
}

// receivedBody runs a timer while it waits for the peer.
type receivedBody struct {
	body    io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
}

// Read reads from the peer while the timer runs.
func (b *receivedBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.timeout, func() { b.cancel(errStalled) })
	n, err := b.body.Read(p)
	timer.Stop()
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// Close releases the call.
func (b *receivedBody) Close() error {
	err := b.body.Close()
	b.cancel(nil)
	return err
}
