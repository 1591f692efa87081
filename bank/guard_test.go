// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/guard"
)

var errOver = errors.New("the tenure is over")

// switchable is a guard.
type switchable struct{ err error }

func (s *switchable) valid() error { return s.err }

func TestGuardsOfBankAndContext(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	worker, operation := &switchable{}, &switchable{}
	s, err := bank.New(memory, nil, nil, worker.valid).Section("/s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(guard.With(guard.With(t.Context(), operation.valid), nil))
	if err := s.PutText(ctx, "k", "1"); err != nil {
		t.Fatal(err)
	}
	cancel()
	aftermath := context.WithoutCancel(ctx)
	for name, forbidding := range map[string]*switchable{"bank": worker, "context": operation} {
		forbidding.err = errOver
		if err := s.PutText(aftermath, "k", "2"); !errors.Is(err, errOver) || !fault.Is(err, "BankUpdateObjectFailed") {
			t.Errorf("%s: put gives %v", name, err)
		}
		if err := s.Delete(aftermath, "k"); !errors.Is(err, errOver) || !fault.Is(err, "BankDeleteObjectFailed") {
			t.Errorf("%s: delete gives %v", name, err)
		}
		if text, err := s.GetText(aftermath, "k"); text != "1" || err != nil {
			t.Errorf("%s: reading %q, %v", name, text, err)
		}
		if keys, err := s.List(aftermath, bank.ListOptions{}); len(keys) != 1 || err != nil {
			t.Errorf("%s: listing %q, %v", name, keys, err)
		}
		forbidding.err = nil
	}
	if err := s.PutText(aftermath, "k", "3"); err != nil {
		t.Error(err)
	}
}

// hook is a body that does something when it is read.
type hook struct {
	*bytes.Reader
	on func()
}

func (h *hook) open() (io.ReadCloser, error) {
	_, err := h.Seek(0, io.SeekStart)
	return io.NopCloser(h), err
}

func (h *hook) Read(p []byte) (int, error) {
	h.on()
	return h.Reader.Read(p[:min(len(p), 10)])
}

// A guard that refused for a moment has refused the rest of an upload.
func TestRefusalStays(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	allows := &switchable{}
	reads := 0
	body := &hook{Reader: bytes.NewReader(make([]byte, 100)), on: func() {
		reads++
		allows.err = nil
		if reads == 3 {
			allows.err = errOver
		}
	}}
	s, err := bank.New(tryTwice{memory}, nil).Section("/")
	if err != nil {
		t.Fatal(err)
	}
	err = s.Put(guard.With(t.Context(), allows.valid), "/k", bank.Upload{Open: body.open, Size: 100})
	if !errors.Is(err, errOver) || len(memory.Keys()) != 0 {
		t.Errorf("put gives %v, keys %q", err, memory.Keys())
	}
}

// tryTwice is a plugin that repeats everything.
type tryTwice struct{ bank.Plugin }

func (p tryTwice) Put(ctx context.Context, key string, u bank.Upload) error {
	if err := p.Plugin.Put(ctx, key, u); err == nil {
		return nil
	}
	return p.Plugin.Put(ctx, key, u)
}

// Losing the lease breaks writes off. They do not go on when it has been taken
// anew, while new ones do.
func TestWritesNeedTheLease(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		memory := banktest.NewMemory()
		b := bank.New(memory, lease)
		s, err := b.Section("/s")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PutText(t.Context(), "k", "1"); err != nil {
			t.Fatal(err)
		}
		store.become(errors.New("unreachable"), false)
		later(501 * time.Second)
		if err := s.PutText(t.Context(), "k", "2"); !errors.Is(err, bank.ErrLeaseNotHeld) || !strings.Contains(err.Error(), "unreachable") {
			t.Errorf("without the lease: %v", err)
		}
		store.become(nil, false)
		later(16 * time.Second)
		if err := s.PutText(t.Context(), "k", "3"); err != nil {
			t.Errorf("with the lease again: %v", err)
		}

		body := &hook{Reader: bytes.NewReader(make([]byte, 100))}
		reads := 0
		body.on = func() {
			if reads++; reads == 5 {
				store.become(errors.New("unreachable"), false)
				later(501 * time.Second)
				store.become(nil, false)
				later(16 * time.Second)
			}
		}
		if err := s.Put(t.Context(), "long", bank.Upload{Open: body.open, Size: 100}); !errors.Is(err, bank.ErrLeaseNotHeld) || lease.Valid() != nil {
			t.Errorf("an upload over two tenures: %v, lease %v", err, lease.Valid())
		}
		if keys := memory.Keys(); len(keys) != 1 {
			t.Errorf("keys are %q", keys)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A lease that cannot be taken at all is no loss: there is nobody else who
// would go on.
func TestWritesNeedALeaseThatCanBeTaken(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		store.become(errors.New("403 Forbidden"), false)
		s, err := bank.New(banktest.NewMemory(), lease).Section("/s")
		if err != nil {
			t.Fatal(err)
		}
		err = s.PutText(t.Context(), "k", "1")
		if !fault.Is(err, "AcquireLeaseFailed") || errors.Is(err, bank.ErrLeaseNotHeld) || !strings.Contains(err.Error(), "acquire: 403 Forbidden") {
			t.Errorf("put gives %v", err)
		}
		store.become(nil, false)
		later(16 * time.Second)
		if err := s.PutText(t.Context(), "k", "1"); err != nil {
			t.Error(err)
		}
	})
}

func TestContextOfTheLease(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *leaseStore, lease *bank.Lease) {
		first := lease.Context()
		lease.Ensure(t.Context())
		store.become(errors.New("unreachable"), false)
		later(499 * time.Second)
		if first.Err() != nil {
			t.Fatal("it ended too early")
		}
		later(2 * time.Second)
		if !errors.Is(context.Cause(first), bank.ErrLeaseNotHeld) {
			t.Errorf("its cause is %v", context.Cause(first))
		}
		store.become(nil, false)
		later(16 * time.Second)
		second := lease.Context()
		if first.Err() == nil || second.Err() != nil {
			t.Error("the tenures have one context")
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if !errors.Is(context.Cause(second), bank.ErrLeaseNotHeld) {
			t.Errorf("after the release its cause is %v", context.Cause(second))
		}
	})
}
