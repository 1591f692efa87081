// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"context"
	"io"

	"github.com/karbor-project/karbor/pkg/guard"
)

// workKey is the key of the name of a piece of work in a context.
type workKey struct{}

// WithWork returns a context whose uploads are for a piece of work, by a name that
// all processes that may come to do it know it by. See Plugin.Disown.
func WithWork(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, workKey{}, name)
}

// Work returns the name of the piece of work that ctx is for, "" for none.
func Work(ctx context.Context) string {
	name, _ := ctx.Value(workKey{}).(string)
	return name
}

// Guarded returns p with writes that need valid, and the guards of their
// context, to return nil: else they fail with that error. The guards are asked
// before the call, by the plugin itself (guard.Allowed), and each time that the body
// of an upload is read: an upload that they interrupt breaks off and leaves no
// object. What once refused a write refuses the rest of it, too. Reads are not
// guarded. A nil valid is for the guards of contexts alone.
func Guarded(p Plugin, valid func() error) Plugin { return &guarded{Plugin: p, valid: valid} }

type guarded struct {
	Plugin
	valid func() error
}

var _ Plugin = (*guarded)(nil)

// Put implements Plugin.
func (g *guarded) Put(ctx context.Context, key string, u Upload) error {
	ctx, err := g.enter(ctx)
	if err != nil {
		return err
	}
	u.Body = &guardedBody{ctx: ctx, from: u.Body, size: u.Size, left: u.Size}
	return g.Plugin.Put(ctx, key, u)
}

// Delete implements Plugin.
func (g *guarded) Delete(ctx context.Context, key string) error {
	ctx, err := g.enter(ctx)
	if err != nil {
		return err
	}
	return g.Plugin.Delete(ctx, key)
}

// enter returns the context of one write whose guards are one that remembers a
// refusal.
func (g *guarded) enter(ctx context.Context) (context.Context, error) {
	ctx = guard.Latched(guard.With(ctx, g.valid))
	return ctx, guard.Allowed(ctx)
}

// guardedBody is the body of an upload that may have to break off.
type guardedBody struct {
	ctx        context.Context
	from       io.ReadSeeker
	size, left int64
}

// Read asks before it reads, and again when it has: reading may take long. A
// store may have taken the object with its last byte, so there is nothing to
// refuse after that.
func (b *guardedBody) Read(p []byte) (int, error) {
	if b.left <= 0 && b.size > 0 {
		return b.from.Read(p)
	}
	if err := guard.Allowed(b.ctx); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if refused := guard.Allowed(b.ctx); refused != nil {
		return 0, refused
	}
	b.left -= int64(n)
	return n, err
}

// Seek is to the start, for another attempt.
func (b *guardedBody) Seek(offset int64, whence int) (int64, error) {
	b.left = b.size
	return b.from.Seek(offset, whence)
}
