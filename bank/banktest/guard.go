// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/guard"
)

var errRefused = errors.New("the right to write has ended")

// until returns a guard that refuses from the n-th time that it is asked.
func until(n int64) func() error {
	var asked atomic.Int64
	return func() error {
		if asked.Add(1) >= n {
			return errRefused
		}
		return nil
	}
}

// guarded is the bank over a plugin, as one section.
func guarded(t *testing.T, p bank.Plugin) *bank.Section {
	t.Helper()
	s, err := bank.New(p, nil).Section("/")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testGuardedPut lets the right to write end at each moment at which somebody
// asks for it: what is refused is not stored, however late that is, and leaves
// nothing behind.
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
