// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
)

// unsized is a bank that does not tell sizes and reads each body twice.
type unsized struct{ *banktest.Memory }

func (u unsized) Get(ctx context.Context, key string) (*bank.Object, error) {
	o, err := u.Memory.Get(ctx, key)
	if o != nil {
		o.Size = -1
	}
	return o, err
}

func (u unsized) Put(ctx context.Context, key string, up bank.Upload) error {
	body, err := up.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.CopyN(io.Discard, body, min(up.Size, 3)); err != nil {
		return err
	}
	return u.Memory.Put(ctx, key, up) // as after a failed attempt
}

func TestCopyFrom(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	for name, plugin := range map[string]bank.Plugin{"sized": memory, "unsized": unsized{memory}} {
		from, err := bank.New(plugin, nil).Section("/" + name + "/from")
		if err != nil {
			t.Fatal(err)
		}
		to, err := bank.New(plugin, nil).Section("/" + name + "/to")
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("0123456789"), 10_000)
		if err := errors.Join(from.PutBytes(t.Context(), "raw", data), from.PutJSON(t.Context(), "json", map[string]int{"a": 1}), from.PutText(t.Context(), "none", "")); err != nil {
			t.Fatal(err)
		}
		for key, size := range map[string]int64{"raw": 100_000, "json": 8, "none": 0} {
			if n, err := to.CopyFrom(t.Context(), from.ReadOnly(), key); n != size || err != nil {
				t.Errorf("%s %s: %d bytes, %v", name, key, n, err)
			}
			want, got := memory.Objects()[from.Path()+key], memory.Objects()[to.Path()+key]
			if !bytes.Equal(want.Body, got.Body) || want.Serialized != got.Serialized {
				t.Errorf("%s %s: the copy differs", name, key)
			}
		}
		if _, err := to.CopyFrom(t.Context(), from, "missing"); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := to.ReadOnly().CopyFrom(t.Context(), from, "raw"); err == nil {
			t.Error("a read-only section took it")
		}
	}
}
