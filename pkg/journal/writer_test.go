// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
)

func begin(t testing.TB, j journal.Journal) journal.Entry {
	t.Helper()
	e, fresh, err := j.Begin(t.Context(), journal.Entry{ID: uuid.NewString(), Kind: "protect", Claim: journal.Claim{Owner: "w"}})
	if err != nil || !fresh {
		t.Fatalf("begin: %v, fresh %v", err, fresh)
	}
	return e
}

func TestWritersShareCommits(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, url string) {
		j := open(t, url)
		const writers, each, entries = 1000, 4, 10
		var begun []journal.Entry
		for range entries {
			begun = append(begun, begin(t, j))
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				e := begun[w%entries]
				for n := range each {
					if err := j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: fmt.Sprintf("%d/%d", w, n), Value: []byte("1")}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, e := range begun {
			if marks, err := j.Marks(t.Context(), e.ID, ""); err != nil || len(marks) != writers*each/entries {
				t.Errorf("%d marks (%v)", len(marks), err)
			}
		}
		s := j.Stats()
		if s.Writes != writers*each || s.Marks != writers*each || s.Failed != 0 || s.Waiting != 0 || s.LastDuration <= 0 {
			t.Errorf("figures are %+v", s)
		}
		t.Logf("%d writes in %d commits", s.Writes, s.Commits)
		if s.Commits > writers*each/10 {
			t.Errorf("%d commits for %d writes", s.Commits, s.Writes)
		}
	})
}

// block holds SQLite's write lock, as another process might, until it is
// released.
func block(t *testing.T, url string) (release func()) {
	t.Helper()
	db := connect(t, url, database.Options{})
	held, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.Transact(t.Context(), func(context.Context, database.Tx) error {
			close(held)
			<-free
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	release = sync.OnceFunc(func() { close(free); wg.Wait() })
	t.Cleanup(release)
	return release
}

// pileUp starts writes until two of them wait, whether or not another one is under
// way, and returns how many there are.
func pileUp(t *testing.T, j *journal.SQL, write func(n int)) int {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for n := 0; ; n++ {
		go write(n)
		for range 20 {
			if time.Sleep(time.Millisecond); j.Stats().Waiting > 1 {
				return n + 1
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("no two writes wait")
		}
	}
}

func TestAWriterNeedNotWait(t *testing.T) {
	t.Parallel()
	url := "sqlite:///" + filepath.Join(t.TempDir(), "karbor.sqlite")
	j := open(t, url)
	e := begin(t, j)
	release := block(t, url)
	stop := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	errs := make(chan error)
	write := func(ctx context.Context, key string) {
		errs <- j.Write(ctx, e.ID, e.Claim, journal.Mark{Key: key, Value: []byte("1")})
	}
	n := pileUp(t, j, func(n int) { write(ctx, fmt.Sprint("gone/", n)) })
	cancel(stop)
	for range n {
		if err := <-errs; !errors.Is(err, stop) {
			t.Errorf("error is %v, want the cause", err)
		}
	}
	go write(t.Context(), "stays")
	release()
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if marks, err := j.Marks(t.Context(), e.ID, "stays"); err != nil || len(marks) != 1 {
		t.Errorf("%d marks (%v)", len(marks), err)
	}
}

// Close waits for what was asked for before.
func TestCloseWaitsForWrites(t *testing.T) {
	t.Parallel()
	url := "sqlite:///" + filepath.Join(t.TempDir(), "karbor.sqlite")
	j := open(t, url)
	e := begin(t, j)
	release := block(t, url)
	errs := make(chan error)
	n := pileUp(t, j, func(n int) {
		errs <- j.Write(t.Context(), e.ID, e.Claim, journal.Mark{Key: fmt.Sprint(n), Value: []byte("1")})
	})
	closed := make(chan error, 1)
	go func() { closed <- j.Close() }()
	release()
	written := 0
	for range n {
		switch err := <-errs; {
		case err == nil:
			written++
		case !errors.Is(err, journal.ErrClosed): // it came after Close
			t.Error(err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if marks, err := open(t, url).Marks(t.Context(), e.ID, ""); err != nil || len(marks) != written || written < 2 {
		t.Errorf("%d marks, %d writes went well (%v)", len(marks), written, err)
	}
}
