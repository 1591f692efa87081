// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
)

// testConcurrent works on neighbouring keys at the same time. Directories that come and go must not
// disturb the objects in other directories.
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

// testAtomicOverwrite reads an object while writers replace it: each read must return exactly one
// version.
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

// cancellingBody is cancelled after part of it has been read.
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

var errRefused = errors.New("the right to write has ended")

// until returns a guard that refuses from its n-th call on.
func until(n int64) func() error {
	var asked atomic.Int64
	return func() error {
		if asked.Add(1) >= n {
			return errRefused
		}
		return nil
	}
}

// guarded returns a bank over the plugin, as one section.
func guarded(t *testing.T, p bank.Plugin) *bank.Section {
	t.Helper()
	s, err := bank.New(p, nil).Section("/")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testGuardedPut withdraws the permission to write at each moment at which a guard is asked. A
// refused write stores nothing, however late the refusal, and leaves nothing behind.
func (s *suite) testGuardedPut(t *testing.T) {
	for _, size := range []int{0, 1, 300_000} {
		key := s.base + "key"
		s.put(t, key, "old")
		want := noise(size, 7)
		refused := 0
		for n := int64(1); ; n++ {
			err := guarded(t, s.plugin).Put(guard.With(t.Context(), until(n)), key, upload(want, false))
			if err == nil {
				break
			}
			refused++
			if !errors.Is(err, errRefused) {
				t.Fatalf("%d bytes, refused at the ask %d: %v", size, n, err)
			}
			if got, _ := s.get(t, key); string(got) != "old" {
				t.Fatalf("%d bytes, refused at the ask %d, and stored: %d bytes", size, n, len(got))
			}
		}
		if refused < 2 {
			t.Errorf("%d bytes: asked %d times: the plugin does not ask itself", size, refused)
		}
		if got, _ := s.get(t, key); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: object holds %d", size, len(got))
		}
	}
}

func (s *suite) testGuardedDelete(t *testing.T) {
	key := s.base + "key"
	s.put(t, key, "old")
	refused := 0
	for n := int64(1); ; n++ {
		err := guarded(t, s.plugin).Delete(guard.With(t.Context(), until(n)), key)
		if err == nil {
			break
		}
		refused++
		if !errors.Is(err, errRefused) {
			t.Fatalf("refused at the ask %d: %v", n, err)
		}
		if got, _ := s.get(t, key); string(got) != "old" {
			t.Fatalf("refused at the ask %d, and the object holds %q", n, got)
		}
	}
	if refused < 2 {
		t.Errorf("asked %d times: the plugin does not ask itself", refused)
	}
	if _, _, err := read(t.Context(), s.plugin, key); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

// Spoil makes the existing object under a key unusable, as other users or failing disks may do.
// undo restores it at the end of the test; nil means that nothing is to be undone.
type Spoil func(t *testing.T, key string) (undo func())

// Spoils adds ways to spoil one object of the store, by name.
func Spoils(ways map[string]Spoil) Option { return func(s *suite) { s.spoils = ways } }

// Break makes the whole store fail until undo is called.
type Break func(t *testing.T, p bank.Plugin) (undo func())

// Breaks adds ways in which the store fails, by name.
func Breaks(ways map[string]Break) Option { return func(s *suite) { s.breaks = ways } }

// testSpoiled spoils one of several objects in each way. Operations on that object must report that
// it is unusable, and operations on the others must work as before.
func (s *suite) testSpoiled(t *testing.T) {
	for name, spoil := range s.spoils {
		t.Run(name, func(t *testing.T) {
			base := s.base + strings.ReplaceAll(name, " ", "-") + "/"
			bad, before, after := base+"b/index.json", base+"a/index.json", base+"c/index.json"
			for _, key := range []string{before, bad, after} {
				s.put(t, key, key)
			}
			if undo := spoil(t, bad); undo != nil {
				defer undo()
			}
			o, err := s.plugin.Get(t.Context(), bad)
			if err == nil {
				_, err = io.Copy(io.Discard, o.Body)
				o.Body.Close()
			}
			if !errors.Is(err, bank.ErrUnusable) || errors.Is(err, bank.ErrNotFound) {
				t.Errorf("get gives %v, which is not ErrUnusable", err)
			}
			for _, key := range []string{before, after} {
				if body, _ := s.get(t, key); string(body) != key {
					t.Errorf("object %s holds %q", key, body)
				}
			}
			for _, options := range []bank.ListOptions{{}, {Descending: true}, {Limit: 10}} {
				options.Prefix = base
				keys, err := s.plugin.List(t.Context(), options)
				var partial *bank.PartialError
				if err != nil && !errors.As(err, &partial) {
					t.Errorf("listing fails: %v", err)
				}
				for _, key := range []string{before, after} {
					if !slices.Contains(keys, key) {
						t.Errorf("listing %+v lacks %s: %q", options, key, keys)
					}
				}
			}
			// A removal may succeed, since permissions to read and to remove differ.
			if err := s.plugin.Delete(t.Context(), bad); err != nil && !errors.Is(err, bank.ErrUnusable) {
				t.Errorf("delete gives %v, which is not ErrUnusable", err)
			}
			for _, key := range []string{before, after} {
				if err := s.plugin.Delete(t.Context(), key); err != nil {
					t.Errorf("delete %s: %v", key, err)
				}
			}
		})
	}
}

// testOutage makes the store fail. No operation may report that the error is about a single object,
// that an object is missing, or that a listing is empty.
func (s *suite) testOutage(t *testing.T) {
	for name, fail := range s.breaks {
		t.Run(name, func(t *testing.T) {
			base := s.base + strings.ReplaceAll(name, " ", "-") + "/"
			s.put(t, base+"a/index.json", "x")
			undo := fail(t, s.plugin)
			o, getErr := s.plugin.Get(t.Context(), base+"a/index.json")
			if getErr == nil {
				_, getErr = io.Copy(io.Discard, o.Body)
				o.Body.Close()
			}
			_, below := s.plugin.List(t.Context(), bank.ListOptions{Prefix: base})
			_, all := s.plugin.List(t.Context(), bank.ListOptions{Prefix: "/banktest/"})
			deleteErr := s.plugin.Delete(t.Context(), base+"a/index.json")
			undo()
			for operation, err := range map[string]error{
				"get": getErr, "list": below, "list of the section": all, "delete": deleteErr,
			} {
				var partial *bank.PartialError
				if err == nil || errors.Is(err, bank.ErrUnusable) || errors.Is(err, bank.ErrNotFound) || errors.As(err, &partial) {
					t.Errorf("%s gives %v in an outage", operation, err)
				}
			}
			if body, _ := s.get(t, base+"a/index.json"); string(body) != "x" {
				t.Errorf("after the outage the object holds %q", body)
			}
		})
	}
}
