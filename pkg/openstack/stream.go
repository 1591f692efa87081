// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"io"
	"net/http"
	"sync"
)

// stream is a body that can be read once, as that of an image upload. A call that
// found no connection has not begun to read it, so it can be made again, although
// the transport closes the body of every call that fails.
type stream struct {
	io.ReadCloser

	mu                  sync.Mutex
	begun, closed, last bool
}

// streamOf returns the request with a body of ours if its body is a stream, and
// that body.
func streamOf(req *http.Request) (*http.Request, *stream) {
	if replayable(req) {
		return req, nil
	}
	s := &stream{ReadCloser: req.Body}
	req = req.WithContext(req.Context())
	req.Body = s
	return req, s
}

// Read begins it.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	return s.ReadCloser.Read(p)
}

// Close waits for the last call as long as nobody has read.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.begun && !s.last {
		return nil
	}
	return s.ReadCloser.Close()
}

// fresh tells whether nobody has read. A nil stream is not.
func (s *stream) fresh() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.begun
}

// finish says that there is no further call.
func (s *stream) finish() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = true
	if s.closed && !s.begun {
		_ = s.ReadCloser.Close()
	}
}
