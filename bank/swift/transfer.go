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

// errStalled ends a transfer that makes no progress.
var errStalled = errors.New("no data moved for too long")

// watch cancels a request that has made no progress for a while.
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

// end releases the watch and its context, which interrupts a body that is still being read.
func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// bodyError is a failure of the caller's body. Another attempt does not help.
type bodyError struct{ cause error }

func (e *bodyError) Error() string { return "read the body: " + e.cause.Error() }
func (e *bodyError) Unwrap() error { return e.cause }

// upload sends a caller's body. After a failed request the transport may still be reading it in the
// background, but not after close.
type upload struct {
	open  func() (io.ReadCloser, error)
	size  int64
	watch *watch
	body  *uploadBody // current attempt
}

func newUpload(u *bank.Upload, w *watch) (*upload, error) {
	up := &upload{open: u.Open, size: u.Size, watch: w}
	return up, up.reopen()
}

func (u *upload) reopen() error {
	if err := u.close(); err != nil {
		return err
	}
	from, err := u.open()
	if err != nil {
		return &bodyError{cause: err}
	}
	u.body = &uploadBody{upload: u, from: from, sum: md5.New()} //nolint:gosec // see above
	return nil
}

// attach makes the upload the body of req. The transport asks for the body again if a kept
// connection turns out to be closed.
func (u *upload) attach(req *http.Request) {
	req.ContentLength = u.size
	if u.size == 0 {
		req.Body = http.NoBody
		return
	}
	req.Body = u.body
	req.GetBody = func() (io.ReadCloser, error) {
		if err := u.reopen(); err != nil {
			return nil, err
		}
		return u.body, nil
	}
}

// close ends the body and returns its error, if any. It does nothing on a nil upload.
func (u *upload) close() error {
	if u == nil || u.body == nil {
		return nil
	}
	_ = u.body.Close()
	return u.body.failed
}

// verify compares the checksum of the sent bytes with the checksum of the stored object. It does nothing on
// a nil upload.
func (u *upload) verify(etag string) error {
	if u == nil {
		return nil
	}
	u.body.mu.Lock()
	defer u.body.mu.Unlock()
	if sent := hex.EncodeToString(u.body.sum.Sum(nil)); !strings.EqualFold(sent, strings.Trim(etag, `"`)) {
		return fmt.Errorf("what was stored has checksum %q instead of %s", etag, sent)
	}
	return nil
}

// uploadBody is the body of one attempt.
type uploadBody struct {
	*upload

	mu     sync.Mutex
	from   io.ReadCloser // nil: closed
	sent   int64
	sum    hash.Hash
	failed error
}

func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from == nil {
		return 0, errors.New("request has ended")
	}
	// The transport may notice a cancellation only after it has sent everything, but a cancelled
	// upload must not be stored.
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

// Close closes the source of the body.
func (b *uploadBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from == nil {
		return nil
	}
	from := b.from
	b.from = nil
	return from.Close()
}

// isMD5 reports whether an ETag is the checksum of a plain object's body.
func isMD5(etag string) bool {
	sum, err := hex.DecodeString(strings.Trim(etag, `"`))
	return err == nil && len(sum) == md5.Size
}
