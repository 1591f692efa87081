// SPDX-License-Identifier: Apache-2.0

package bank_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(sleeperVariable); dir != "" {
		sleeper(dir)
		return
	}
	leaktest.Main(m)
}

func section(t *testing.T, p bank.Plugin, path string) *bank.Section {
	t.Helper()
	s, err := bank.New(p, nil).Section(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValuesAsStored(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	s := section(t, memory, "/s")
	type metadata struct {
		Volume string `json:"volume_id"`
		Backup string `json:"backup_id"`
		Size   int    `json:"size"`
	}
	for key, put := range map[string]func() error{
		"text":  func() error { return s.PutText(t.Context(), "text", "available") },
		"bytes": func() error { return s.PutBytes(t.Context(), "bytes", []byte{0, 0xff}) },
		"stream": func() error {
			return s.Put(t.Context(), "stream", bank.Upload{Open: bank.Bytes([]byte("body")), Size: 4})
		},
		"struct": func() error { return s.PutJSON(t.Context(), "struct", metadata{"v<ü>", "b", 1}) },
		"raw": func() error {
			return s.PutJSON(t.Context(), "raw", json.RawMessage(`{"z":1,"a":[1,2,{"é":null}],"t":"\/\u0041"}`))
		},
		"string": func() error { return s.PutJSON(t.Context(), "string", "a\u007f") },
	} {
		if err := put(); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	want := map[string]banktest.Stored{
		"/s/text":   {Body: []byte("available"), Serialized: bank.Raw},
		"/s/bytes":  {Body: []byte{0, 0xff}, Serialized: bank.Raw},
		"/s/stream": {Body: []byte("body"), Serialized: bank.Raw},
		"/s/struct": {Body: []byte(`{"volume_id": "v<\u00fc>", "backup_id": "b", "size": 1}`), Serialized: bank.JSON},
		"/s/raw":    {Body: []byte(`{"z": 1, "a": [1, 2, {"\u00e9": null}], "t": "/A"}`), Serialized: bank.JSON},
		"/s/string": {Body: []byte(`"a\u007f"`), Serialized: bank.JSON},
	}
	if diff := cmp.Diff(want, memory.Objects()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every form in which a bank may hold an object.
func TestValuesAsRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		stored    banktest.Stored
		text      string
		value     any
		textFails bool
	}{
		"text":                  {stored: banktest.Stored{Body: []byte("deleted"), Serialized: bank.Raw}, text: "deleted"},
		"text without flag":     {stored: banktest.Stored{Body: []byte("123")}, text: "123", value: 123.0},
		"quotes without flag":   {stored: banktest.Stored{Body: []byte(`"x"`)}, text: `"x"`, value: "x"},
		"JSON":                  {stored: banktest.Stored{Body: []byte(`{"a": 1}`), Serialized: bank.JSON}, text: `{"a": 1}`, value: map[string]any{"a": 1.0}},
		"JSON without flag":     {stored: banktest.Stored{Body: []byte(`{"a": 1}`)}, text: `{"a": 1}`, value: map[string]any{"a": 1.0}},
		"JSON flagged as raw":   {stored: banktest.Stored{Body: []byte(`{"a": 1}`), Serialized: bank.Raw}, text: `{"a": 1}`, value: map[string]any{"a": 1.0}},
		"bytes wrapped in JSON": {stored: banktest.Stored{Body: []byte(`"\u00fc\n\u0000"`), Serialized: bank.JSON}, text: "ü\n\x00", value: "ü\n\x00"},
		"flagged but not JSON":  {stored: banktest.Stored{Body: []byte(`"half`), Serialized: bank.JSON}, textFails: true},
		"empty":                 {stored: banktest.Stored{Serialized: bank.Raw}},
		"binary":                {stored: banktest.Stored{Body: []byte("\x00\xff"), Serialized: bank.Raw}, text: "\x00\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory := banktest.NewMemory()
			memory.Set("/s/k", test.stored)
			s := section(t, memory, "/s")
			text, err := s.GetText(t.Context(), "k")
			if text != test.text || (err != nil) != test.textFails {
				t.Errorf("text is %q, %v, want %q", text, err, test.text)
			}
			body, err := s.Open(t.Context(), "k")
			if (err != nil) != test.textFails {
				t.Errorf("open gives %v", err)
			}
			if err == nil {
				streamed, err := io.ReadAll(body)
				if string(streamed) != test.text || err != nil {
					t.Errorf("stream is %q, %v, want %q", streamed, err, test.text)
				}
				body.Close()
			}
			var value any
			err = s.GetJSON(t.Context(), "k", &value)
			if test.value == nil {
				if !fault.Is(err, "BankGetObjectFailed") || !strings.Contains(err.Error(), "/s/k") {
					t.Errorf("JSON gives %v, %v", value, err)
				}
				return
			}
			if diff := cmp.Diff(test.value, value); diff != "" || err != nil {
				t.Errorf("JSON (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	t.Parallel()
	refused := errors.New("Connection to swift failed: refused")
	for class, call := range map[string]func(*bank.Section, *banktest.Faulty) error{
		"BankUpdateObjectFailed": func(s *bank.Section, f *banktest.Faulty) error {
			f.Queue(banktest.Put, banktest.Fault{Err: refused})
			return s.PutText(t.Context(), "k", "x")
		},
		"BankGetObjectFailed": func(s *bank.Section, f *banktest.Faulty) error {
			f.Queue(banktest.Get, banktest.Fault{Err: refused})
			_, err := s.GetText(t.Context(), "k")
			return err
		},
		"BankDeleteObjectFailed": func(s *bank.Section, f *banktest.Faulty) error {
			f.Queue(banktest.Delete, banktest.Fault{Err: refused})
			return s.Delete(t.Context(), "k")
		},
		"BankListObjectsFailed": func(s *bank.Section, f *banktest.Faulty) error {
			f.Queue(banktest.List, banktest.Fault{Err: refused})
			_, err := s.List(t.Context(), bank.ListOptions{})
			return err
		},
	} {
		f := banktest.NewFaulty(banktest.NewMemory())
		err := call(section(t, f, "/s"), f)
		if !fault.Is(err, class) || !errors.Is(err, refused) || !strings.HasSuffix(err.Error(), ": "+refused.Error()) {
			t.Errorf("%s: error is %v", class, err)
		}
	}
	s := section(t, banktest.NewMemory(), "/s")
	if _, err := s.GetBytes(t.Context(), "k"); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("missing object gives %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(refused)
	if err := s.PutText(ctx, "k", "x"); !errors.Is(err, refused) || !fault.Is(err, "BankUpdateObjectFailed") {
		t.Errorf("cancelled put gives %v", err)
	}
}

func TestSectionsConfine(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	memory.Set("/secret", banktest.Stored{Body: []byte("x")})
	s := section(t, memory, "/s")
	below, err := s.Section("below/it")
	if err != nil || below.Path() != "/s/below/it/" {
		t.Fatalf("section below is %q, %v", below.Path(), err)
	}
	for _, key := range []string{"../secret", "a/../../secret", "/../secret"} {
		if _, err := s.GetText(t.Context(), key); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("get %q gives %v", key, err)
		}
		if err := s.PutText(t.Context(), key, "x"); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("put %q gives %v", key, err)
		}
		if err := s.Delete(t.Context(), key); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("delete %q gives %v", key, err)
		}
		if _, err := s.List(t.Context(), bank.ListOptions{Prefix: key}); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("list %q gives %v", key, err)
		}
		if _, err := s.Section(key); !fault.Is(err, "InvalidParameterValue") {
			t.Errorf("section %q gives %v", key, err)
		}
	}
}

func TestReadOnlySections(t *testing.T) {
	t.Parallel()
	memory := banktest.NewMemory()
	s := section(t, memory, "/s")
	if err := s.PutText(t.Context(), "a/k", "x"); err != nil {
		t.Fatal(err)
	}
	below, err := s.ReadOnly().Section("a")
	if err != nil || below.Writable() {
		t.Fatalf("section of a read-only one is writable, or %v", err)
	}
	if text, err := below.GetText(t.Context(), "k"); text != "x" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
	for name, err := range map[string]error{
		"put":    below.PutText(t.Context(), "k", "y"),
		"json":   below.PutJSON(t.Context(), "k", 1),
		"delete": below.Delete(t.Context(), "k"),
	} {
		if !fault.Is(err, "BankReadonlyViolation") {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

// The last key of a page is the marker of the next.
func TestListingInSections(t *testing.T) {
	t.Parallel()
	s := section(t, banktest.NewMemory(), "/s")
	for _, key := range []string{"a/1", "a/2", "a/3", "ab", "b"} {
		if err := s.PutText(t.Context(), key, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		o    bank.ListOptions
		want []string
	}{
		{bank.ListOptions{}, []string{"a/1", "a/2", "a/3", "ab", "b"}},
		{bank.ListOptions{Prefix: "a"}, []string{"a/1", "a/2", "a/3", "ab"}},
		{bank.ListOptions{Prefix: "/a/"}, []string{"a/1", "a/2", "a/3"}},
		{bank.ListOptions{Prefix: "a/", Marker: "a/1", Limit: 1}, []string{"a/2"}},
		{bank.ListOptions{Prefix: "a/", Marker: "a/3", Descending: true}, []string{"a/2", "a/1"}},
	} {
		got, err := s.List(t.Context(), test.o)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%+v (-want +got):\n%s%v", test.o, diff, err)
		}
	}
}

// Streams of data are bounded, and what is held in memory never waits for them. A copy
// needs one stream for both of its ways, and its repetition none more.
func TestMetadataDoNotWaitBehindData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := bank.New(banktest.NewMemory(), nil).Section("/s")
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 1<<20)
		if err := s.PutBytes(t.Context(), "data", data); err != nil {
			t.Fatal(err)
		}
		var open []io.Closer
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			body, err := s.Open(ctx, "data")
			cancel()
			if err != nil {
				break
			}
			open = append(open, body)
		}
		if len(open) < 10 || len(open) > 60 {
			t.Errorf("%d streams are open", len(open))
		}
		if err := errors.Join(s.PutText(t.Context(), "status", "available"), s.PutJSON(t.Context(), "index.json", string(data))); err != nil {
			t.Error(err)
		}
		if text, err := s.GetText(t.Context(), "status"); text != "available" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		if keys, err := s.List(t.Context(), bank.ListOptions{}); len(keys) != 3 || err != nil {
			t.Errorf("%q, %v", keys, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.PutBytes(ctx, "more", data); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a further upload: %v", err)
		}
		if _, err := s.CopyFrom(ctx, s, "data"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a copy: %v", err)
		}
		open[0].Close()
		open[0].Close()
		if _, err := s.CopyFrom(t.Context(), s, "data"); err != nil {
			t.Error(err)
		}
	})
}
