// SPDX-License-Identifier: Apache-2.0

package banktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/bank"
)

// Option changes the suite.
type Option func(*suite)

// Many sets the number of objects in the test of a long listing. The default is 10050, more than a
// page of Swift.
func Many(n int) Option { return func(s *suite) { s.many = n } }

// Flickering is for a store that may not find an object at the moment it is overwritten: a Swift
// object server answers 404 if it opens the file of an object just when a newer one takes its
// place.
func Flickering() Option { return func(s *suite) { s.flickering = true } }

// Run tests that the bank of newPlugin keeps the contract of bank.Plugin. The bank may hold objects
// already, and the suite leaves its own behind, all below a prefix that no other run uses.
func Run(t *testing.T, newPlugin func(t *testing.T) bank.Plugin, options ...Option) {
	t.Helper()
	s := &suite{many: 10050}
	for _, option := range options {
		option(s)
	}
	s.plugin = newPlugin(t)
	for name, test := range map[string]func(*suite, *testing.T){
		"RoundTrip":        (*suite).testRoundTrip,
		"Keys":             (*suite).testKeys,
		"Sections":         (*suite).testSections,
		"Overwrite":        (*suite).testOverwrite,
		"New":              (*suite).testNew,
		"Disown":           (*suite).testDisown,
		"ShortBody":        (*suite).testShortBody,
		"BrokenBody":       (*suite).testBrokenBody,
		"NotFound":         (*suite).testNotFound,
		"Delete":           (*suite).testDelete,
		"Listing":          (*suite).testListing,
		"LongListing":      (*suite).testLongListing,
		"Versions":         (*suite).testVersions,
		"Concurrent":       (*suite).testConcurrent,
		"AtomicOverwrite":  (*suite).testAtomicOverwrite,
		"Cancelled":        (*suite).testCancelled,
		"CancelledMidBody": (*suite).testCancelledMidBody,
		"GuardedPut":       (*suite).testGuardedPut,
		"GuardedDelete":    (*suite).testGuardedDelete,
		"Spoiled":          (*suite).testSpoiled,
		"Outage":           (*suite).testOutage,
		"OwnerID":          (*suite).testOwnerID,
	} {
		t.Run(name, func(t *testing.T) {
			own := *s
			own.base = "/banktest/" + uuid.NewString() + "/"
			test(&own, t)
		})
	}
}

type suite struct {
	plugin bank.Plugin
	many   int
	// flickering: see Flickering
	flickering bool
	spoils     map[string]Spoil
	breaks     map[string]Break
	base       string // prefix of the keys of one test
}

func (s *suite) put(t *testing.T, key, body string) {
	t.Helper()
	if err := s.plugin.Put(t.Context(), key, upload([]byte(body), false)); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func (s *suite) get(t *testing.T, key string) (body []byte, flag bank.Flag) {
	t.Helper()
	body, flag, err := read(t.Context(), s.plugin, key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return body, flag
}

func (s *suite) list(ctx context.Context, t *testing.T, o bank.ListOptions) []string {
	t.Helper()
	keys, err := s.plugin.List(ctx, o)
	if err != nil {
		t.Fatalf("list %+v: %v", o, err)
	}
	return keys
}

func upload(body []byte, serialized bool) bank.Upload {
	return bank.Upload{Open: bank.Bytes(body), Size: int64(len(body)), Serialized: serialized}
}

func read(ctx context.Context, p bank.Plugin, key string) ([]byte, bank.Flag, error) {
	o, err := p.Get(ctx, key)
	if err != nil {
		return nil, bank.Unknown, err
	}
	defer o.Body.Close()
	body, err := io.ReadAll(o.Body)
	if err == nil && o.Size >= 0 && o.Size != int64(len(body)) {
		err = errors.New("size of the object is not that of its body")
	}
	return body, o.Serialized, err
}

// noise returns n bytes that are unique to the seed.
func noise(n int, seed uint64) []byte {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	data := make([]byte, n)
	_, _ = random.Read(data)
	return data
}

func (s *suite) testRoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		body       []byte
		serialized bool
	}{
		"text":    {body: []byte("available")},
		"json":    {body: []byte(`{"backup_id": "b"}`), serialized: true},
		"empty":   {},
		"unicode": {body: []byte("Grüße, 世界 \U0001F4BE\n")},
		"number":  {body: []byte("123")},
		"binary":  {body: []byte{0, 0xff, '\r', '\n', 0x1a, 0x80, 0}},
		"noise":   {body: noise(5<<20+17, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			key := s.base + name
			if err := s.plugin.Put(t.Context(), key, upload(test.body, test.serialized)); err != nil {
				t.Fatal(err)
			}
			body, flag := s.get(t, key)
			if !bytes.Equal(body, test.body) {
				t.Errorf("read %d bytes that are not the %d that were written", len(body), len(test.body))
			}
			want := bank.Raw
			if test.serialized {
				want = bank.JSON
			}
			if flag != want && flag != bank.Unknown {
				t.Errorf("flag is %v, want %v", flag, want)
			}
		})
	}
}

// testKeys tests every character that keys allow.
func (s *suite) testKeys(t *testing.T) {
	keys := []string{
		s.base + "1795362440@75019568-6138-4274-baaa-09d01c2c2743",
		s.base + "@/@@",
		s.base + "UPPER/lower/0123456789",
		s.base + "-dash_underscore.dot/.hidden/a.b",
		s.base + strings.Repeat("deep/", 30) + "er",
		s.base + strings.Repeat("n", 200),
	}
	for _, key := range keys {
		s.put(t, key, key)
	}
	for _, key := range keys {
		if body, _ := s.get(t, key); string(body) != key {
			t.Errorf("object %s holds %q", key, body)
		}
		listed := s.list(t.Context(), t, bank.ListOptions{Prefix: key})
		if diff := cmp.Diff([]string{key}, listed); diff != "" {
			t.Errorf("listing of one key (-want +got):\n%s", diff)
		}
	}
}

// testSections uses the plugin through a Bank, as all callers do.
func (s *suite) testSections(t *testing.T) {
	section, err := bank.New(s.plugin, nil).Section(s.base)
	if err != nil {
		t.Fatal(err)
	}
	if err := section.PutText(t.Context(), "a//b", "text"); err != nil {
		t.Fatal(err)
	}
	if err := section.PutJSON(t.Context(), "c", map[string]string{"ü": "\u2028"}); err != nil {
		t.Fatal(err)
	}
	if text, err := section.GetText(t.Context(), "/a/b"); err != nil || text != "text" {
		t.Errorf("text is %q, %v", text, err)
	}
	var value map[string]string
	if err := section.GetJSON(t.Context(), "c", &value); err != nil || value["ü"] != "\u2028" {
		t.Errorf("JSON is %q, %v", value, err)
	}
	if _, err := section.GetText(t.Context(), "b"); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("missing object gives %v", err)
	}
	keys, err := section.List(t.Context(), bank.ListOptions{})
	if diff := cmp.Diff([]string{"a/b", "c"}, keys); diff != "" || err != nil {
		t.Errorf("listing (-want +got):\n%s%v", diff, err)
	}
}

func (s *suite) testOverwrite(t *testing.T) {
	key := s.base + "key"
	for _, body := range []string{"first", "the second is longer", "3", ""} {
		s.put(t, key, body)
		if got, _ := s.get(t, key); string(got) != body {
			t.Errorf("object holds %q, want %q", got, body)
		}
	}
	if keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base}); len(keys) != 1 {
		t.Errorf("overwriting one key left %q", keys)
	}
}

// testNew uploads objects that must not exist yet.
func (s *suite) testNew(t *testing.T) {
	for _, size := range []int{0, 1, 300_000} {
		key := s.base + "deep/" + strconv.Itoa(size)
		first, second := upload(noise(size, 3), true), upload(noise(size+1, 4), true)
		first.New, second.New = true, true
		if err := s.plugin.Put(t.Context(), key, first); err != nil {
			t.Fatalf("%d bytes, where nothing was: %v", size, err)
		}
		if err := s.plugin.Put(t.Context(), key, second); !errors.Is(err, bank.ErrExists) {
			t.Errorf("%d bytes, where something was: %v", size, err)
		}
		if got, _ := s.get(t, key); !bytes.Equal(got, noise(size, 3)) {
			t.Errorf("%d bytes: the object holds %d others", size, len(got))
		}
		if err := s.plugin.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := s.plugin.Put(t.Context(), key, second); err != nil {
			t.Errorf("%d bytes, where something had been: %v", size, err)
		}
	}
}

// disowning is a body that disowns a piece of work while it is being read.
type disowning struct {
	*bytes.Reader
	disown func()
}

func (d disowning) Read(p []byte) (int, error) {
	d.disown()
	return d.Reader.Read(p)
}

// testDisown disowns a piece of work during uploads for it and for other work. The disowned upload
// may fail, and then has stored nothing; the other one succeeds.
func (s *suite) testDisown(t *testing.T) {
	put := func(work, body string) error {
		of := bank.WithWork(t.Context(), s.base+"mine")
		disown := func() {
			if err := s.plugin.Disown(of, s.base+"mine"); err != nil {
				t.Errorf("disown: %v", err)
			}
		}
		u := bank.Upload{Open: seekable(disowning{bytes.NewReader([]byte(body)), disown}), Size: int64(len(body))}
		return s.plugin.Put(bank.WithWork(of, work), s.base+"key", u)
	}
	s.put(t, s.base+"key", "old")
	want := "old"
	if err := put(s.base+"mine", "mine"); err == nil {
		want = "mine" // the store cannot end uploads
	}
	if got, _ := s.get(t, s.base+"key"); string(got) != want {
		t.Errorf("the object holds %q, want %q", got, want)
	}
	for _, work := range []string{s.base + "mine too", ""} {
		if err := put(work, "of others "+work); err != nil {
			t.Errorf("an upload for %q: %v", work, err)
		}
		if got, _ := s.get(t, s.base+"key"); string(got) != "of others "+work {
			t.Errorf("the object holds %q", got)
		}
	}
}

func (s *suite) testShortBody(t *testing.T) {
	key := s.base + "key"
	s.put(t, key, "old")
	if err := s.plugin.Put(t.Context(), key, bank.Upload{Open: bank.Bytes([]byte("new")), Size: 4}); err == nil {
		t.Error("a body that is too short was taken")
	}
	if got, _ := s.get(t, key); string(got) != "old" {
		t.Errorf("the failed put changed the object to %q", got)
	}
}

// seekable opens the same body for every attempt.
func seekable(body io.ReadSeeker) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		_, err := body.Seek(0, io.SeekStart)
		return io.NopCloser(body), err
	}
}

// brokenBody fails after some bytes, every time it is read.
type brokenBody struct {
	*bytes.Reader
	left int
}

var errBody = errors.New("the body broke off")

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBody
	}
	n, err := b.Reader.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (s *suite) testBrokenBody(t *testing.T) {
	key := s.base + "key"
	s.put(t, key, "old")
	body := &brokenBody{Reader: bytes.NewReader(make([]byte, 1<<20)), left: 100_000}
	err := s.plugin.Put(t.Context(), key, bank.Upload{Open: seekable(body), Size: 1 << 20})
	if !errors.Is(err, errBody) {
		t.Errorf("put gives %v instead of the error of the body", err)
	}
	if got, _ := s.get(t, key); string(got) != "old" {
		t.Errorf("the failed put changed the object to %d bytes", len(got))
	}
	if keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base}); len(keys) != 1 {
		t.Errorf("the failed put left %q", keys)
	}
}

func (s *suite) testNotFound(t *testing.T) {
	s.put(t, s.base+"dir/file", "x")
	for _, key := range []string{s.base + "nothing", s.base + "no/thing", s.base + "dir/file/below"} {
		if _, _, err := read(t.Context(), s.plugin, key); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("get %s gives %v", key, err)
		}
		if err := s.plugin.Delete(t.Context(), key); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("delete %s gives %v", key, err)
		}
	}
	// A key that other keys lie below holds no object, or an unusable one.
	for name, err := range map[string]error{
		"get":    func() error { _, _, err := read(t.Context(), s.plugin, s.base+"dir"); return err }(),
		"delete": s.plugin.Delete(t.Context(), s.base+"dir"),
	} {
		if !errors.Is(err, bank.ErrNotFound) && !errors.Is(err, bank.ErrUnusable) {
			t.Errorf("%s of a place gives %v", name, err)
		}
	}
	if got, _ := s.get(t, s.base+"dir/file"); string(got) != "x" {
		t.Errorf("object holds %q", got)
	}
}

func (s *suite) testDelete(t *testing.T) {
	gone, stays, sibling := s.base+"a/b/gone", s.base+"a/stays", s.base+"a/b/gone.not"
	s.put(t, stays, "1")
	s.put(t, sibling, "2")
	for range 2 { // the second time it was made anew
		s.put(t, gone, "3")
		if err := s.plugin.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(t.Context(), s.plugin, gone); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("get of a deleted object gives %v", err)
		}
		if err := s.plugin.Delete(t.Context(), gone); !errors.Is(err, bank.ErrNotFound) {
			t.Errorf("second delete gives %v", err)
		}
		listed := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base})
		if diff := cmp.Diff([]string{sibling, stays}, listed); diff != "" {
			t.Errorf("after the deletion (-want +got):\n%s", diff)
		}
	}
}

func (s *suite) testOwnerID(t *testing.T) {
	first, second := s.plugin.OwnerID(), s.plugin.OwnerID()
	if _, err := uuid.Parse(first); err != nil || first != second {
		t.Errorf("owner ids %q and %q are not one UUID", first, second)
	}
}

// testListing compares each combination of options with a plain implementation of the contract.
func (s *suite) testListing(t *testing.T) {
	names := []string{
		// Byte order differs from the order of a directory walk and of a dictionary: "-" "." "/"
		// "0" "@" "A" "_" "a".
		"x-1", "x.1", "x/1", "x/10", "x/2", "x/sub/1", "x/sub-1", "x/sub@1", "x0", "x@1", "X", "x_1", "xa",
		"y/1@a", "y/1@b", "y/2@a",
	}
	var all []string
	for _, name := range names {
		s.put(t, s.base+name, "")
		all = append(all, s.base+name)
	}
	slices.Sort(all)

	prefixes := []string{"", "x", "x/", "x/sub", "x/sub/", "x/1", "y/1@", "z", "z/", "xa/"}
	markers := []string{"", "X", "a", "x", "x/", "x/1", "x/15", "x/sub/1", "x/sub/zz", "x0", "y/1@a", "y/2@a", "zz", "0"}
	for _, prefix := range prefixes {
		for _, marker := range markers {
			for _, limit := range []int{0, 1, 2, 5, len(names), 1000} {
				for _, descending := range []bool{false, true} {
					for _, delimiter := range []string{"", "s", "1"} {
						o := bank.ListOptions{Prefix: s.base + prefix, Limit: limit, Descending: descending, Delimiter: delimiter}
						if marker != "" {
							o.Marker = o.Rolled(s.base + marker)
						}
						want, got := expected(all, o), s.list(t.Context(), t, o)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Fatalf("prefix %q marker %q limit %d descending %t delimiter %q (-want +got):\n%s",
								prefix, marker, limit, descending, delimiter, diff)
						}
					}
				}
			}
		}
	}
}

// testVersions tests that equal versions mean equal bytes, whichever method returns them. A store
// need not have versions.
func (s *suite) testVersions(t *testing.T) {
	key := s.base + "folder/object"
	known := map[string]string{} // the bodies, by version
	for _, body := range []string{"one", "two", "three", "one", "six"} {
		s.put(t, key, body)
		versions := map[string]string{}
		s.list(t.Context(), t, bank.ListOptions{Prefix: s.base, Versions: versions})
		o, err := s.plugin.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		o.Body.Close()
		for _, version := range []string{o.Version, versions[key]} {
			if was, ok := known[version]; ok && was != body {
				t.Errorf("%q and %q have the version %q", was, body, version)
			}
			if version != "" {
				known[version] = body
			}
		}
		if listed, ok := versions[key]; ok && listed != o.Version {
			t.Errorf("the listing has the version %q, the object %q", listed, o.Version)
		}
	}
	versions := map[string]string{}
	keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base, Delimiter: "j", Versions: versions})
	if want := s.base + "folder/obj"; !slices.Equal(keys, []string{want}) || len(versions) > 0 {
		t.Errorf("rolled up: %q with the versions %q", keys, versions)
	}
}

// expected returns the listing of sorted keys by applying one condition after the other.
func expected(keys []string, o bank.ListOptions) []string {
	keys = slices.Clone(keys)
	if o.Descending {
		slices.Reverse(keys)
	}
	listed := []string{}
	for _, key := range keys {
		if !strings.HasPrefix(key, o.Prefix) {
			continue
		}
		if key = o.Rolled(key); len(listed) > 0 && listed[len(listed)-1] == key {
			continue
		}
		after := o.Marker == "" || !o.Descending && key > o.Marker || o.Descending && key < o.Marker
		if after && (o.Limit == 0 || len(listed) < o.Limit) {
			listed = append(listed, key)
		}
	}
	return listed
}

// testLongListing lists more objects than a store returns in one page.
func (s *suite) testLongListing(t *testing.T) {
	all := make([]string, s.many)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	for i := range all {
		all[i] = fmt.Sprintf("%sdir%03d/%08d", s.base, i/100, i)
		group.Go(func() error { return s.plugin.Put(ctx, all[i], upload(nil, false)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []bank.ListOptions{
		{},
		{Descending: true},
		{Limit: s.many - 1},
		{Limit: s.many, Marker: all[0]},
		{Limit: s.many - 1, Descending: true, Marker: all[s.many-1]},
		{Limit: 3, Marker: all[s.many/2]},
		{Limit: 3, Marker: all[s.many/2], Descending: true},
	} {
		o.Prefix = s.base
		want, got := expected(all, o), s.list(t.Context(), t, o)
		if !slices.Equal(want, got) {
			t.Errorf("%+v: listed %d keys instead of %d, or other ones", o, len(got), len(want))
		}
	}
	// A caller may page through the listing, too.
	var paged []string
	marker := ""
	for page := s.many/3 + 1; ; {
		keys := s.list(t.Context(), t, bank.ListOptions{Prefix: s.base, Marker: marker, Limit: page})
		paged = append(paged, keys...)
		if len(keys) < page {
			break
		}
		marker = keys[len(keys)-1]
	}
	if !slices.Equal(all, paged) {
		t.Errorf("pages hold %d keys instead of %d, or other ones", len(paged), len(all))
	}
}
