// SPDX-License-Identifier: Apache-2.0

package ownership_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir)
		return
	}
	leaktest.Main(m)
}

var errAway = errors.New("connection refused")

// shaky is a journal that can be away, for all methods or some.
type shaky struct {
	ownership.Journal

	mu        sync.Mutex
	away      bool // everything
	mute      bool // announcements alone
	announced int
	scans     int
}

func (s *shaky) become(away, mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.mute = away, mute
}

func (s *shaky) down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	return nil
}

func (s *shaky) counts() (announced, scans int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.announced, s.scans
}

func (s *shaky) Announce(ctx context.Context, o journal.Owner, hold time.Duration) error {
	s.mu.Lock()
	s.announced++
	away := s.away || s.mute
	s.mu.Unlock()
	if away {
		return errAway
	}
	return s.Journal.Announce(ctx, o, hold)
}

func (s *shaky) Retire(ctx context.Context, owner string) error {
	return errors.Join(s.down(), s.Journal.Retire(ctx, owner))
}

func (s *shaky) Owners(ctx context.Context) ([]journal.Owner, error) {
	s.mu.Lock()
	s.scans++
	s.mu.Unlock()
	if err := s.down(); err != nil {
		return nil, err
	}
	return s.Journal.Owners(ctx)
}

func (s *shaky) Adopt(ctx context.Context, id string, from journal.Claim, owner string) (journal.Claim, error) {
	if err := s.down(); err != nil {
		return journal.Claim{}, err
	}
	return s.Journal.Adopt(ctx, id, from, owner)
}

func (s *shaky) List(ctx context.Context, f journal.Filter) ([]journal.Entry, error) {
	if err := s.down(); err != nil {
		return nil, err
	}
	return s.Journal.List(ctx, f)
}

// worker is what a Keeper works for: it notes what it was given.
type worker struct {
	*ownership.Keeper

	mu        sync.Mutex
	work      map[string]journal.Entry
	adopted   []journal.Entry
	cancelled []string
}

func newWorker(t *testing.T, c ownership.Config) *worker {
	t.Helper()
	w := &worker{work: map[string]journal.Entry{}}
	c.Adopt, c.Cancel, c.Working = w.adopt, w.cancel, w.working
	k, err := ownership.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.Keeper = k
	return w
}

func (w *worker) adopt(e journal.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.work[e.ID] = e
	w.adopted = append(w.adopted, e)
}

func (w *worker) cancel(e journal.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancelled = append(w.cancelled, e.ID+" by "+e.CancelledBy)
}

func (w *worker) working(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.work[id]
	return ok
}

func (w *worker) drop(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.work, id)
}

// take returns what was adopted since the last time.
func (w *worker) take() []journal.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	adopted := w.adopted
	w.adopted = nil
	return adopted
}

func (w *worker) start(t *testing.T) {
	t.Helper()
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *worker) end(t *testing.T) {
	t.Helper()
	if err := w.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// begin adds an entry to the journal and, if it is theirs, to a worker's work.
func begin(t *testing.T, j journal.Journal, owner string, w *worker) string {
	t.Helper()
	id := uuid.NewString()
	e := journal.Entry{ID: id, Kind: "protect", Subject: id, Input: []byte(`{"x":1}`), Claim: journal.Claim{Owner: owner, Generation: 1}}
	if w != nil {
		w.mu.Lock()
		w.work[id] = e
		w.mu.Unlock()
	}
	if _, added, err := j.Begin(t.Context(), e); err != nil || !added {
		t.Fatalf("begin: %t, %v", added, err)
	}
	return id
}

// later lets time pass and everything settle.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func same(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}
