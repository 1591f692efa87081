// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/failure"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
)

// MarkWriter writes the marks of one operation. Marks that are set during a write go together into
// the next write, in the order in which they were set: the hooks of a thousand resources need only
// a few commits.
type MarkWriter struct {
	journal journal.Journal
	retry   failure.Retrier
	log     logrus.FieldLogger
	id      string
	claim   journal.Claim
	ctx     context.Context
	lost    func(error)

	mu      sync.Mutex
	pending map[string]json.RawMessage
	order   []string
	writing bool
	waiting []chan error // waiters for the next write
	broken  error        // set when no more writes are possible
}

// NewMarkWriter returns the writer of an entry's marks. ctx ends the retries of a write, and lost
// is called once when the claim on the entry is gone.
func NewMarkWriter(ctx context.Context, j journal.Journal, retry failure.Retrier, log logrus.FieldLogger, entry journal.Entry, lost func(error)) *MarkWriter {
	return &MarkWriter{journal: j, retry: retry, log: log, id: entry.ID, claim: entry.Claim, ctx: ctx, lost: lost}
}

// Note sets a mark, which is written soon after.
func (w *MarkWriter) Note(key string, value any) { w.set(key, value, nil) }

// Save sets a mark and waits until it, and all marks set before, are durable.
func (w *MarkWriter) Save(ctx context.Context, key string, value any) error {
	return w.Begin(key, value)(ctx)
}

// Begin sets a mark and returns a function that waits as Save does.
func (w *MarkWriter) Begin(key string, value any) (wait func(context.Context) error) {
	done := make(chan error, 1)
	w.set(key, value, done)
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *MarkWriter) set(key string, value any, done chan error) {
	text, ok := value.(json.RawMessage)
	if !ok {
		text, _ = json.Marshal(value) // our own structs always encode
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		if done != nil {
			done <- w.broken
		}
		return
	}
	if w.pending == nil {
		w.pending = map[string]json.RawMessage{}
	}
	if _, there := w.pending[key]; !there {
		w.order = append(w.order, key)
	}
	w.pending[key] = text
	if done != nil {
		w.waiting = append(w.waiting, done)
	}
	if !w.writing {
		w.writing = true
		go w.write()
	}
}

// write writes until nothing is left.
func (w *MarkWriter) write() {
	for {
		w.mu.Lock()
		marks := make([]journal.Mark, 0, len(w.order))
		for _, key := range w.order {
			marks = append(marks, journal.Mark{Key: key, Value: w.pending[key]})
		}
		waiting := w.waiting
		w.pending, w.order, w.waiting = nil, nil, nil
		if len(marks) == 0 {
			w.writing = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		err := w.persist(marks)
		if database.Refused(err) != nil {
			err = w.each(marks)
		}
		if err != nil && database.Refused(err) == nil {
			w.fail(err, waiting)
			return
		}
		for _, done := range waiting {
			done <- err
		}
	}
}

// each writes, one by one and in order, marks that were refused together, so that one mark that the
// database cannot store does not affect the others. It returns the last refusal, or a more serious
// error.
func (w *MarkWriter) each(marks []journal.Mark) error {
	var refusal error
	for _, m := range marks {
		err := w.persist([]journal.Mark{m})
		switch {
		case err == nil:
		case database.Refused(err) == nil:
			return err
		default:
			w.log.Errorf("mark %q of %d bytes is not kept: %s", m.Key, len(m.Value), fault.Detail(err))
			refusal = err
		}
	}
	return refusal
}

// persist repeats a write while the journal is unavailable.
func (w *MarkWriter) persist(marks []journal.Mark) error {
	err := w.retry.Journal(w.ctx, w.log, func(ctx context.Context) error {
		return w.journal.Write(ctx, w.id, w.claim, marks...)
	})
	if err != nil && w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
}

// fail ends the writer: after a mark was lost, no later mark may become durable.
func (w *MarkWriter) fail(err error, waiting []chan error) {
	err = fmt.Errorf("writing the journal: %w", err)
	w.mu.Lock()
	w.broken = err
	waiting = append(waiting, w.waiting...)
	w.waiting, w.pending, w.order = nil, nil, nil
	w.writing = false
	w.mu.Unlock()
	for _, done := range waiting {
		done <- err
	}
	if errors.Is(err, journal.ErrClaim) {
		w.lost(err)
	}
}
