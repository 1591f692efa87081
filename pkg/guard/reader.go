// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"io"
)

// Reader reads a body that is being sent, and stops when the guards refuse the rest.
type Reader struct {
	ctx        context.Context
	from       io.Reader
	size, left int64 // bytes; 0 or less: of unknown length, or none
}

// NewReader returns a reader of size bytes; 0 or less means that the size is unknown.
func NewReader(ctx context.Context, from io.Reader, size int64) *Reader {
	return &Reader{ctx: ctx, from: from, size: size, left: size}
}

// Read checks the guards before and after reading, because reading may take long. After
// the last byte of a known length the receiver has everything, so nothing can be
// refused any more. A refusal is a RefusedError.
func (r *Reader) Read(p []byte) (int, error) {
	if r.size > 0 && r.left <= 0 {
		return r.from.Read(p)
	}
	if err := Allowed(r.ctx); err != nil {
		return 0, &RefusedError{err}
	}
	n, err := r.from.Read(p)
	if refused := Allowed(r.ctx); refused != nil {
		return 0, &RefusedError{refused}
	}
	r.left -= int64(n)
	return n, err
}
