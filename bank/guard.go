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
	u.Body = guardedBody{guard.NewReader(ctx, u.Body, u.Size), u.Body}
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
	*guard.Reader
	from io.Seeker
}

// Seek is to the start, for another attempt.
func (b guardedBody) Seek(offset int64, whence int) (int64, error) {
	b.Rewind()
	return b.from.Seek(offset, whence)
}
