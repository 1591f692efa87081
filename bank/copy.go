// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/karbor-project/karbor/pkg/fault"
)

// CopyFrom stores under key the object that another section has under it, as it
// is: its bytes and what the store remembers of their form. It returns their
// number. The object streams through. That the copy is whole follows from the
// contracts: a body that ends early fails, and so does an upload of another size;
// stores that keep checksums compare them on both ways.
func (s *Section) CopyFrom(ctx context.Context, from *Section, key string) (int64, error) {
	full, err := from.key(key)
	if err != nil {
		return 0, err
	}
	o, err := from.get(ctx, full)
	if err != nil {
		return 0, err
	}
	body := &reopened{ctx: ctx, from: from, key: full, body: o.Body}
	defer func() { body.body.Close() }()
	size := o.Size
	if size < 0 {
		if size, err = io.Copy(io.Discard, body); err != nil {
			return 0, getFailed(full, err)
		}
	}
	return size, s.put(ctx, key, Upload{Body: body, Size: size, Serialized: o.Serialized == JSON})
}

// reopened is the body of an object that can be read again from its start, by
// getting it again.
type reopened struct {
	ctx  context.Context
	from *Section
	key  string
	body io.ReadCloser
	read bool // anything of body
}

func (r *reopened) Read(p []byte) (int, error) {
	r.read = true
	n, err := r.body.Read(p)
	if err != nil && err != io.EOF {
		err = getFailed(r.key, err)
	}
	return n, err
}

// Seek goes back to the start, which is all that a store may ask for.
func (r *reopened) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, fault.BankGetObjectFailed(r.key, fmt.Sprintf("cannot seek to %d", offset)).WithCause(errors.ErrUnsupported)
	}
	if !r.read {
		return 0, nil
	}
	o, err := r.from.get(r.ctx, r.key)
	if err != nil {
		return 0, err
	}
	r.body.Close()
	r.body, r.read = o.Body, false
	return 0, nil
}
