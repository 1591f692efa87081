// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// testConcurrent works on neighbouring keys at the same time. The directories
// come and go, which must not disturb others in them.
func (s *suite) testConcurrent(t *testing.T) {
	group, ctx := errgroup.WithContext(t.Context())
	for worker := range 8 {
		group.Go(func() error {
			for round := range 20 {
				key := fmt.Sprintf("%sdir/%d/%d", s.base, round%3, worker)
				want := noise(1000+worker, uint64(worker*100+round))
				if err := s.plugin.Put(ctx, key, upload(want, false)); err != nil {
					return err
				}
				got, _, err := read(ctx, s.plugin, key)
				if err != nil {
					return err
				}
				if !bytes.Equal(got, want) {
					return fmt.Errorf("object %s holds something else", key)
				}
				if _, err := s.plugin.List(ctx, bank.ListOptions{Prefix: s.base}); err != nil {
					return err
				}
				if err := s.plugin.Delete(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base}); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}
}

// testAtomicOverwrite reads an object while others replace it: each reading
// must be one version.
func (s *suite) testAtomicOverwrite(t *testing.T) {
	key := s.base + "key"
	version := func(n int) []byte { return bytes.Repeat([]byte{byte('a' + n)}, 50_000+n) }
	if err := s.plugin.Put(t.Context(), key, upload(version(0), false)); err != nil {
		t.Fatal(err)
	}
	group, ctx := errgroup.WithContext(t.Context())
	for worker := range 3 {
		group.Go(func() error {
			for range 10 {
				if err := s.plugin.Put(ctx, key, upload(version(worker), false)); err != nil {
					return err
				}
			}
			return nil
		})
		group.Go(func() error {
			for range 10 {
				body, _, err := read(ctx, s.plugin, key)
				if s.flickering && errors.Is(err, bank.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				if len(body) == 0 || !bytes.Equal(body, version(int(body[0]-'a'))) {
					return fmt.Errorf("read %d bytes that are no version", len(body))
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

var errGiveUp = errors.New("the caller gave up")

func (s *suite) testCancelled(t *testing.T) {
	key := s.base + "key"
	s.put(t, key, "old")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGiveUp)

	if err := s.plugin.Put(ctx, key, upload([]byte("new"), false)); !errors.Is(err, errGiveUp) {
		t.Errorf("put gives %v", err)
	}
	if _, err := s.plugin.Get(ctx, key); !errors.Is(err, errGiveUp) {
		t.Errorf("get gives %v", err)
	}
	if _, err := s.plugin.List(ctx, bank.ListOptions{Prefix: s.base}); !errors.Is(err, errGiveUp) {
		t.Errorf("list gives %v", err)
	}
	if err := s.plugin.Delete(ctx, key); !errors.Is(err, errGiveUp) {
		t.Errorf("delete gives %v", err)
	}
	if got, _ := s.get(t, key); string(got) != "old" {
		t.Errorf("object holds %q", got)
	}
}

// cancellingBody gives up when it has been read in part.
type cancellingBody struct {
	*bytes.Reader
	cancel context.CancelCauseFunc
}

func (b *cancellingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p[:min(len(p), 64<<10)])
	if b.Reader.Len() < 1<<20 {
		b.cancel(errGiveUp)
	}
	return n, err
}

func (s *suite) testCancelledMidBody(t *testing.T) {
	key := s.base + "key"
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	body := &cancellingBody{Reader: bytes.NewReader(noise(2<<20, 2)), cancel: cancel}
	err := s.plugin.Put(ctx, key, bank.Upload{Open: seekable(body), Size: 2 << 20})
	if !errors.Is(err, errGiveUp) {
		t.Errorf("put gives %v", err)
	}
	if _, _, err := read(t.Context(), s.plugin, key); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("the cancelled upload is there: %v", err)
	}

	if err := s.plugin.Put(t.Context(), key, upload(noise(4<<20, 3), false)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	o, err := s.plugin.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if _, err := io.CopyN(io.Discard, o.Body, 1000); err != nil {
		t.Fatal(err)
	}
	cancel(errGiveUp)
	if n, err := io.Copy(io.Discard, o.Body); err == nil {
		t.Errorf("a cancelled download went on to its end, %d bytes", n)
	}
}
