// SPDX-License-Identifier: Apache-2.0

package imagedata

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func open(t testing.TB, p bank.Plugin) *bank.Section {
	t.Helper()
	section, err := bank.New(p, nil).Section("/data")
	if err != nil {
		t.Fatal(err)
	}
	return section
}

func put(t testing.TB, s *bank.Section, objects ...[]byte) (keys []string, sum string) {
	t.Helper()
	hash := md5.New()
	for i, data := range objects {
		keys = append(keys, Key(i+1))
		hash.Write(data)
		if err := s.PutBytes(t.Context(), Key(i+1), data); err != nil {
			t.Fatal(err)
		}
	}
	return keys, hex.EncodeToString(hash.Sum(nil))
}

func TestReaderGivesAllInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 2*pieceSize+1), 0, 9).Draw(rt, "sizes")
		section := open(t, banktest.NewMemory())
		var objects [][]byte
		for i, n := range sizes {
			objects = append(objects, bytes.Repeat([]byte{byte(i + 1)}, n))
		}
		keys, sum := put(t, section, objects...)
		r := NewReader(t.Context(), section, keys, sum)
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, bytes.Join(objects, nil)) {
			rt.Fatalf("%d bytes, %v", len(got), err)
		}
		if r.Err() != io.EOF {
			rt.Fatalf("ended with %v", r.Err())
		}
	})
}

func TestReaderIsAReader(t *testing.T) {
	t.Parallel()
	section := open(t, banktest.NewMemory())
	keys, sum := put(t, section, []byte("hello "), nil, []byte("world"))
	r := NewReader(t.Context(), section, keys, sum)
	defer r.Close()
	if err := iotest.TestReader(r, []byte("hello world")); err != nil {
		t.Error(err)
	}
}

func TestReaderFails(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for name, tc := range map[string]struct {
		md5   string
		fault banktest.Fault
		want  error
	}{
		"checksum": {"00", banktest.Fault{}, ErrChecksum},
		"object":   {"", banktest.Fault{Err: away}, away},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faulty := banktest.NewFaulty(banktest.NewMemory())
			section := open(t, faulty)
			keys, _ := put(t, section, []byte("a"), []byte("b"))
			faulty.Queue(banktest.Get, banktest.Fault{}, tc.fault)
			r := NewReader(t.Context(), section, keys, tc.md5)
			defer r.Close()
			if _, err := io.ReadAll(r); !errors.Is(err, tc.want) || r.Err() != err {
				t.Errorf("got %v, %v", err, r.Err())
			}
		})
	}
}

// Whichever object is slow, and however much of the other was read ahead.
func TestReaderCloses(t *testing.T) {
	t.Parallel()
	for slow := range 2 {
		t.Run(fmt.Sprint("object ", slow+1, " is slow"), func(t *testing.T) {
			t.Parallel()
			faulty := banktest.NewFaulty(banktest.NewMemory())
			section := open(t, faulty)
			keys, _ := put(t, section, []byte("a"), []byte("b"))
			opened := make(chan struct{}, len(keys))
			before := func(ctx context.Context, key string) {
				opened <- struct{}{}
				if strings.HasSuffix(key, keys[slow]) {
					<-ctx.Done()
				}
			}
			faulty.Queue(banktest.Get, banktest.Fault{Before: before}, banktest.Fault{Before: before})
			r := NewReader(t.Context(), section, keys, "")
			for range slow + 1 {
				<-opened
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != errClosed {
				t.Errorf("got %d bytes, %v", n, err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		objects []string
		count   Count
		want    []string // nil is ErrCount
	}{
		"none":       {nil, 0, []string{}},
		"by number":  {[]string{"data_10", "data_2", "data_1", "data_9", "data_3", "data_4", "data_5", "data_6", "data_7", "data_8", "status"}, 10, []string{"data_1", "data_2", "data_3", "data_4", "data_5", "data_6", "data_7", "data_8", "data_9", "data_10"}},
		"too few":    {[]string{"data_1"}, 2, nil},
		"beyond":     {[]string{"data_1", "data_2"}, 1, []string{"data_1"}},
		"unfinished": {[]string{"data_1"}, 0, nil},
		"a gap":      {[]string{"data_1", "data_3"}, 2, nil},
		"other name": {[]string{"data_1", "data_02"}, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			section := open(t, banktest.NewMemory())
			for _, key := range tc.objects {
				if err := section.PutText(t.Context(), key, "x"); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Keys(t.Context(), section, tc.count)
			if tc.want == nil {
				if !errors.Is(err, ErrCount) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// lagging is a bank whose listings know nothing yet.
type lagging struct{ *banktest.Memory }

func (lagging) List(context.Context, bank.ListOptions) ([]string, error) { return nil, nil }

// counting counts what is read.
type counting struct {
	*banktest.Memory
	gets *atomic.Int64
}

func (c counting) Get(ctx context.Context, key string) (*bank.Object, error) {
	c.gets.Add(1)
	return c.Memory.Get(ctx, key)
}

// A count that is absurd is refused before anything is looked for.
func TestKeysOfAnAbsurdCount(t *testing.T) {
	t.Parallel()
	var gets atomic.Int64
	section := open(t, counting{banktest.NewMemory(), &gets})
	put(t, section, []byte("a"), []byte("b"))
	for _, count := range []Count{maxCount, maxLooks + 3} {
		_, err := Keys(t.Context(), section, count)
		if want := fmt.Sprintf("%d objects of %d are missing", count-2, count); !errors.Is(err, ErrCount) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", count, err)
		}
		if n := gets.Load(); n != 0 {
			t.Errorf("%d: %d objects were looked for", count, n)
		}
	}
}

func TestKeysThatAreNotListedYet(t *testing.T) {
	t.Parallel()
	section := open(t, lagging{banktest.NewMemory()})
	put(t, section, []byte("a"), []byte("b"))
	if keys, err := Keys(t.Context(), section, 2); err != nil || len(keys) != 2 {
		t.Errorf("got %v, %v", keys, err)
	}
	if _, err := Keys(t.Context(), section, 3); !errors.Is(err, ErrCount) {
		t.Errorf("got %v", err)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Count{`3`: 3, `"17"`: 17, `null`: 0, `""`: 0, `0`: 0, `-1`: -1, `"x"`: -1, `{}`: -1, `1.5`: -1, `1000000000000`: -1} {
		got := Count(99)
		if err := json.Unmarshal([]byte(text), &got); (err != nil) != (want < 0) || (err == nil && got != want) {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

// discard is a bank that takes objects and forgets them.
type discard struct{ *banktest.Memory }

func (discard) Put(_ context.Context, _ string, u bank.Upload) error {
	body, err := u.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	if err == nil && n != u.Size {
		err = fmt.Errorf("%d bytes of %d", n, u.Size)
	}
	return err
}

// Not parallel: what other tests allocate would count.
func TestStoreHoldsLittleInMemory(t *testing.T) {
	const size, objectSize = 100 << 20, 640 << 10
	cloud := openstacktest.New(t)
	cloud.Handle("GET "+openstacktest.Glance+"/images/{id}/file", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(rand.NewChaCha8([32]byte{}), size))
	})
	ctx := openstacktest.Context(t)
	client, err := cloud.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	manifest, err := (&Transfer{Client: client, ImageID: "i", Section: open(t, discard{banktest.NewMemory()})}).Store(ctx, objectSize, 0, Hash{})
	runtime.ReadMemStats(&after)
	if err != nil || len(manifest.Objects) != size/objectSize {
		t.Fatalf("%v, %v", manifest, err)
	}
	// All that was ever allocated, so the peak is lower still.
	if used := after.TotalAlloc - before.TotalAlloc; used > size/4 {
		t.Errorf("%d MiB were allocated for an image of %d MiB", used>>20, size>>20)
	}
}

func TestStoreOfATruncatedDownload(t *testing.T) {
	t.Parallel()
	cloud := openstacktest.New(t)
	cloud.Handle("GET "+openstacktest.Glance+"/images/{id}/file", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 70000))
	})
	ctx := openstacktest.Context(t)
	client, err := cloud.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	transfer := Transfer{Client: client, ImageID: "i", Section: open(t, banktest.NewMemory())}
	if _, err := transfer.Store(ctx, 65536, 0, Hash{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}
