// SPDX-License-Identifier: Apache-2.0

package journaltest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/journal"
)

func testBigInput(t *testing.T, f Factory) {
	j := f.Open(t)
	random := rand.NewChaCha8([32]byte{1})
	e := entry("w")
	e.Input = make([]byte, journal.MaxInput)
	_, _ = random.Read(e.Input)
	begin(t, j, e)
	got, err := j.Get(t.Context(), e.ID)
	must(t, err)
	if !bytes.Equal(got.Input, e.Input) {
		t.Errorf("input of %d bytes came back as another of %d", len(e.Input), len(got.Input))
	}
	quotes := entry("w")
	quotes.Input = bytes.Repeat([]byte{'\'', '\\', 0}, journal.MaxInput/3) // all to be escaped
	begin(t, j, quotes)
	got, err = j.Get(t.Context(), quotes.ID)
	must(t, err)
	if !bytes.Equal(got.Input, quotes.Input) {
		t.Error("input of quotes came back as another")
	}
	e.ID, e.Input = uuid.NewString(), append(e.Input, 'x')
	if _, _, err := j.Begin(t.Context(), e); err == nil || !strings.Contains(err.Error(), e.ID) {
		t.Errorf("too much input: %v", err)
	}
}

func testTexts(t *testing.T, f Factory) {
	j := f.Open(t)
	odd := "'; DROP TABLE x -- \" ` \\ % _ ? $1 \u00fc \u202e \U0001f600 e\u0301 \x01 \r\n\t "
	e := journal.Entry{
		ID: odd, Key: odd, Kind: odd, Subject: odd, ProviderID: odd, CheckpointID: odd, PlanID: odd, ProjectID: odd, RecordID: odd,
		Input: []byte("\x00\xff" + odd), Claim: claim(odd),
	}
	e = begin(t, j, e)
	must(t, j.Write(t.Context(), odd, e.Claim, journal.Mark{Key: odd, Value: []byte("\x00\xff" + odd)}))
	must(t, j.Cancel(t.Context(), odd, odd+"\x00\xff"))
	must(t, j.Announce(t.Context(), journal.Owner{ID: odd, Host: odd}, time.Hour))
	if has, err := j.Lock(t.Context(), odd, odd, time.Hour); err != nil || !has {
		t.Errorf("lock: %v, %v", has, err)
	}
	must(t, j.Unlock(t.Context(), odd, odd))
	c, err := j.Adopt(t.Context(), odd, e.Claim, odd)
	must(t, err)
	long := strings.Repeat("\u00fc", 100_000)
	must(t, j.End(t.Context(), odd, c, journal.Failed, "\x00\xff"+long, e.Input))
	must(t, j.End(t.Context(), odd, c, journal.Failed, "\x00\xff"+long, e.Input)) // the same after cleaning, too
	got, err := j.Find(t.Context(), odd)
	must(t, err)
	want := e
	want.Claim, want.State, want.Outcome, want.EndedAt = c, journal.Ended, journal.Failed, got.EndedAt
	want.CancelledBy, want.Reason = odd+"\ufffd", got.Reason
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix("\ufffd"+long, got.Reason) || len(got.Reason) < 60_000 || len(got.Reason) > 65535 {
		t.Errorf("reason of %d bytes begins with %q", len(got.Reason), got.Reason[:min(10, len(got.Reason))])
	}
	if ids := list(t, j, journal.Filter{ProjectID: odd, Kind: odd}); len(ids) != 1 || ids[0] != odd {
		t.Errorf("listed: %q", ids)
	}
	if got := marks(t, j, odd, odd); got != odd+"=\x00\xff"+odd+"\n" {
		t.Errorf("marks: %q", got)
	}
}

// What no store could keep as it is, is refused by every one.
func testRefused(t *testing.T, f Factory) {
	j := f.Open(t)
	good := begin(t, j, entry("w"))
	for _, bad := range []string{"a\x00b", "\xff", strings.Repeat("x", journal.MaxText+1)} {
		for i, set := range []func(*journal.Entry){
			func(e *journal.Entry) { e.ID = bad }, func(e *journal.Entry) { e.Key = bad }, func(e *journal.Entry) { e.Kind = bad },
			func(e *journal.Entry) { e.Subject = bad }, func(e *journal.Entry) { e.ProjectID = bad }, func(e *journal.Entry) { e.Owner = bad },
			func(e *journal.Entry) { e.ProviderID = bad }, func(e *journal.Entry) { e.CheckpointID = bad },
			func(e *journal.Entry) { e.PlanID = bad }, func(e *journal.Entry) { e.RecordID = bad },
		} {
			e := entry("w")
			set(&e)
			if _, _, err := j.Begin(t.Context(), e); err == nil {
				t.Errorf("field %d was taken with %q", i, bad)
			}
		}
		if err := j.Announce(t.Context(), journal.Owner{ID: bad}, time.Hour); err == nil {
			t.Errorf("announced %q", bad)
		}
		if _, err := j.Adopt(t.Context(), good.ID, good.Claim, bad); err == nil {
			t.Errorf("adopted by %q", bad)
		}
		if _, err := j.Lock(t.Context(), bad, "w", time.Hour); err == nil {
			t.Errorf("locked %q", bad)
		}
		if _, err := j.Lock(t.Context(), "l", bad, time.Hour); err == nil {
			t.Errorf("locked by %q", bad)
		}
	}
	if _, _, err := j.Begin(t.Context(), journal.Entry{}); err == nil {
		t.Error("begun without an id")
	}
	for _, m := range []journal.Mark{
		{Key: strings.Repeat("k", journal.MaxKey+1), Value: []byte("1")}, {Key: "k", Value: make([]byte, journal.MaxValue+1)},
	} {
		if err := j.Write(t.Context(), good.ID, good.Claim, mark("good", 1), m); err == nil || errors.Is(err, journal.ErrClaim) {
			t.Errorf("mark with a key of %d and a value of %d bytes: %v", len(m.Key), len(m.Value), err)
		}
	}
	if err := j.End(t.Context(), good.ID, good.Claim, "well", "", nil); err == nil || errors.Is(err, journal.ErrClaim) {
		t.Errorf("an unknown outcome: %v", err)
	}
	if got := marks(t, j, good.ID, ""); got != "" {
		t.Errorf("marks of refused writes: %s", got)
	}
}

// calls are all methods, on an entry that is there.
func calls(ctx context.Context, j journal.Journal, e journal.Entry) map[string]error {
	errs := map[string]error{
		"Start":    j.Start(ctx, e.ID, e.Claim),
		"Write":    j.Write(ctx, e.ID, e.Claim, mark("k", 1)),
		"Cancel":   j.Cancel(ctx, e.ID, "alice"),
		"End":      j.End(ctx, e.ID, e.Claim, journal.Succeeded, "", nil),
		"Announce": j.Announce(ctx, journal.Owner{ID: "w"}, time.Hour),
		"Retire":   j.Retire(ctx, "w"),
		"Unlock":   j.Unlock(ctx, "l", "w"),
	}
	_, _, errs["Begin"] = j.Begin(ctx, entry("w"))
	_, errs["Get"] = j.Get(ctx, e.ID)
	_, errs["Find"] = j.Find(ctx, e.Key)
	_, errs["Marks"] = j.Marks(ctx, e.ID, "")
	_, errs["List"] = j.List(ctx, journal.Filter{})
	_, errs["Owners"] = j.Owners(ctx)
	_, errs["Adopt"] = j.Adopt(ctx, e.ID, e.Claim, "x")
	_, errs["Lock"] = j.Lock(ctx, "l", "w", time.Hour)
	_, errs["Prune"] = j.Prune(ctx, time.Now().Add(time.Hour))
	return errs
}

func testContext(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, full())
	stop := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for name, err := range calls(ctx, j, e) {
		if !errors.Is(err, stop) {
			t.Errorf("%s: %v, want the cause", name, err)
		}
	}
	got, err := j.Get(t.Context(), e.ID)
	must(t, err)
	if diff := cmp.Diff(&e, got); diff != "" {
		t.Errorf("after calls that had ended before (-want +got):\n%s", diff)
	}
}

func testClose(t *testing.T, f Factory) {
	j := f.Open(t)
	e := begin(t, j, full())
	for range 2 {
		must(t, j.Close())
	}
	for name, err := range calls(t.Context(), j, e) {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}
