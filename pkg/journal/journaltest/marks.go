// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/journal"
)

func testMarks(t *testing.T, f Factory) {
	j := f.Open(t)
	e, other := begin(t, j, entry("w")), begin(t, j, entry("w"))
	write := func(m ...journal.Mark) {
		t.Helper()
		must(t, j.Write(t.Context(), e.ID, e.Claim, m...))
	}
	check := func(prefix, want string) {
		t.Helper()
		if diff := cmp.Diff(want, marks(t, j, e.ID, prefix)); diff != "" {
			t.Errorf("marks of %q (-want +got):\n%s", prefix, diff)
		}
	}
	write()
	check("", "")
	must(t, j.Write(t.Context(), other.ID, other.Claim, mark("hook/x", "other")))
	write(mark("hook/b", 1), mark("hook/B", 2), mark("hook/ü", 3), mark("hook", 4), mark("hoo%", 5), mark("state/a", 6), mark("hook/b ", 7))
	check("hook/", "hook/B=2\nhook/b=1\nhook/b =7\nhook/ü=3\n")
	check("hoo%", "hoo%=5\n")
	check("hoo_", "")
	check("", "hoo%=5\nhook=4\nhook/B=2\nhook/b=1\nhook/b =7\nhook/ü=3\nstate/a=6\n")

	write(mark("hook/b", "new"), journal.Mark{Key: "hook"}, journal.Mark{Key: "was never there"}, journal.Mark{Key: "hook/B", Value: []byte{}})
	check("hoo", "hoo%=5\nhook/b=\"new\"\nhook/b =7\nhook/ü=3\n")
	write(mark("state/a", "first"), journal.Mark{Key: "state/a"}, mark("state/a", "last"), mark("gone", 1), journal.Mark{Key: "gone"})
	check("state", "state/a=\"last\"\n")
	check("gone", "")

	last, longest := strings.Repeat("\xff", journal.MaxKey), strings.Repeat("k", journal.MaxKey)
	write(mark(last, 1), mark(longest, 2), mark("", 3), mark("\x00\x01", 4), mark("\xff", 5), mark("a\xff\xff", 6), mark("b", 7))
	check("\xff", "\xff=5\n"+last+"=1\n")
	check("a\xff", "a\xff\xff=6\n")
	check("a\ufffd", "") // what the bytes above are as runes
	write(mark("r\ufffd", 8), mark("rest", 9))
	check("r\ufffd", "r\ufffd=8\n")
	check(longest, longest+"=2\n")
	check(longest+"k", "")
	check("\x00", "\x00\x01=4\n")
	if all := marks(t, j, e.ID, ""); !strings.HasPrefix(all, "=3\n\x00\x01=4\n") {
		t.Errorf("marks: %q", all)
	}
	if got := marks(t, j, other.ID, ""); got != "hook/x=\"other\"\n" {
		t.Errorf("marks of the other: %s", got)
	}
	if got := marks(t, j, "nobody", "") + marks(t, j, "\x00", "") + marks(t, j, "\xff", ""); got != "" {
		t.Errorf("marks of nobody: %s", got)
	}
	must(t, j.End(t.Context(), other.ID, other.Claim, journal.Failed, "", nil))
	if got := marks(t, j, other.ID, ""); got != "hook/x=\"other\"\n" {
		t.Errorf("marks after the end: %s", got)
	}

	big := mark("big", strings.Repeat(`\"ü`, journal.MaxValue/8))
	write(big, big, mark("other", big.Value), mark("third", big.Value))
	got, err := j.Marks(t.Context(), e.ID, "big")
	must(t, err)
	if len(got) != 1 || string(got[0].Value) != string(big.Value) {
		t.Error("a big mark did not come back")
	}
}

func testWritersAtOnce(t *testing.T, f Factory) {
	workers := []journal.Journal{f.Open(t), f.Open(t)}
	const entries, each = 20, 10
	var begun []journal.Entry
	for range entries {
		begun = append(begun, begin(t, workers[0], entry("w")))
	}
	var wg sync.WaitGroup
	for i, e := range begun {
		for n := range each {
			wg.Go(func() {
				m := []journal.Mark{mark(fmt.Sprintf("own/%02d", n), n), mark("shared", n), mark(fmt.Sprint("tmp/", n), n)}
				if err := workers[(i+n)%2].Write(t.Context(), e.ID, e.Claim, m...); err != nil {
					t.Error(err)
				}
				if err := workers[(i+n)%2].Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: m[2].Key}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	want := ""
	for n := range each {
		want += fmt.Sprintf("own/%02d=%d\n", n, n)
	}
	for _, e := range begun {
		if got := marks(t, workers[0], e.ID, "own/") + marks(t, workers[0], e.ID, "tmp/"); got != want {
			t.Errorf("marks of %s:\n%s", e.ID, got)
		}
		if got := strings.Count(marks(t, workers[0], e.ID, "shared"), "\n"); got != 1 {
			t.Errorf("%d marks with one key", got)
		}
	}
}

// Writes that share a commit do not share their results.
func testOneRefusedWrite(t *testing.T, f Factory) {
	j := f.Open(t)
	good, bad := begin(t, j, entry("w")), begin(t, j, entry("w"))
	must(t, j.End(t.Context(), bad.ID, bad.Claim, journal.Failed, "", nil))
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			m := mark(fmt.Sprintf("%02d", i), i)
			switch i % 3 {
			case 0:
				if err := j.Write(t.Context(), good.ID, good.Claim, m); err != nil {
					t.Error(err)
				}
			case 1:
				if err := j.Write(t.Context(), bad.ID, bad.Claim, m); !errors.Is(err, journal.ErrClaim) {
					t.Errorf("write to what has ended: %v", err)
				}
			case 2:
				if err := j.Write(t.Context(), good.ID, journal.Claim{Owner: "w", Generation: 2}, m); !errors.Is(err, journal.ErrClaim) {
					t.Errorf("write with a wrong claim: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(marks(t, j, good.ID, ""), "\n"); got != 20 {
		t.Errorf("%d marks, want 20", got)
	}
	if got := marks(t, j, bad.ID, ""); got != "" {
		t.Errorf("marks of refused writes: %s", got)
	}
}
