// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"context"
	"crypto/md5" //nolint:gosec // the checksum that Swift keeps
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/karbor-project/karbor/bank"
)

// errStalled ends a transfer that made no progress.
var errStalled = errors.New("no data moved for too long")

// watch cancels a request when nothing touches it for a while.
type watch struct {
	ctx    context.Context // of the request
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func newWatch(ctx context.Context, limit time.Duration) (*watch, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{ctx: ctx, limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w (%s)", errStalled, limit)) })
	return w, ctx
}

func (w *watch) touch() { w.timer.Reset(w.limit) }

// end frees the watch and its context. A body that is still read breaks off.
func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// bodyError is a failure of the caller's body, which no further attempt cures.
type bodyError struct{ cause error }

func (e *bodyError) Error() string { return "read the body: " + e.cause.Error() }
func (e *bodyError) Unwrap() error { return e.cause }

// uploadBody sends a caller's body. The transport may still read it in the
// background when a request has failed; after detach it does not, and the body
// can be read from its start again.
type uploadBody struct {
	from  io.ReadSeeker
	size  int64
	watch *watch

	mu     sync.Mutex
	round  int // of the reader that may read
	sent   int64
	sum    hash.Hash
	failed error
}

func newUploadBody(u *bank.Upload, w *watch) (*uploadBody, error) {
	b := &uploadBody{from: u.Body, size: u.Size, watch: w}
	if err := b.rewind(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *uploadBody) rewind() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.round++
	b.sent = 0
	b.sum = md5.New() //nolint:gosec // see above
	if _, err := b.from.Seek(0, io.SeekStart); err != nil {
		b.failed = &bodyError{cause: err}
		return b.failed
	}
	return nil
}

// attach makes b the body of req. The transport asks for it again when a kept
// connection turns out to be closed.
func (b *uploadBody) attach(req *http.Request) {
	req.ContentLength = b.size
	if b.size == 0 {
		req.Body = http.NoBody
		return
	}
	req.Body = &uploadReader{b, b.round}
	req.GetBody = func() (io.ReadCloser, error) {
		if err := b.rewind(); err != nil {
			return nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return &uploadReader{b, b.round}, nil
	}
}

// detach stops all readers and returns the error of the caller's body, if it
// had one.
func (b *uploadBody) detach() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.round++
	return b.failed
}

// verify compares what was sent with the checksum of what was stored. A nil b
// sent nothing.
func (b *uploadBody) verify(etag string) error {
	if b == nil || !isMD5(etag) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sent := hex.EncodeToString(b.sum.Sum(nil)); !strings.EqualFold(sent, strings.Trim(etag, `"`)) {
		return fmt.Errorf("what was stored has checksum %s instead of %s", etag, sent)
	}
	return nil
}

// uploadReader is one reading of an uploadBody.
type uploadReader struct {
	body  *uploadBody
	round int
}

func (r *uploadReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.round != b.round {
		return 0, errors.New("request has ended")
	}
	// The transport may notice a cancellation only after it has sent everything:
	// what is given up must not be stored.
	if err := context.Cause(b.watch.ctx); err != nil {
		return 0, err
	}
	b.watch.touch()
	n, err := b.from.Read(p)
	b.sum.Write(p[:n])
	b.sent += int64(n)
	if err == io.EOF && b.sent < b.size {
		err = fmt.Errorf("it has %d bytes instead of %d", b.sent, b.size)
	}
	if err != nil && err != io.EOF {
		b.failed = &bodyError{cause: err}
		return n, b.failed
	}
	return n, err
}

// Close does nothing: the body is the caller's.
func (r *uploadReader) Close() error { return nil }

// isMD5 tells whether an ETag is the checksum of a plain object's body.
func isMD5(etag string) bool {
	sum, err := hex.DecodeString(strings.Trim(etag, `"`))
	return err == nil && len(sum) == md5.Size
}
