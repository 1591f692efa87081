// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
)

// verdict is how an operation that failed or was cancelled is to end. It is
// durable before anything says so, so that nobody runs hooks again afterwards.
type verdict struct {
	Reason    string `json:"reason"`
	Cancelled bool   `json:"cancelled,omitempty"`
	// Refused is what the caller was told in place of a result; the operation
	// never ran.
	Refused string `json:"refused,omitempty"`
}

// verdictOf reads the verdict of an entry, nil if there is none.
func (e *Engine) verdictOf(ctx context.Context, id string) (*verdict, error) {
	marks, err := e.journal.Marks(ctx, id, verdictMark)
	if err != nil || len(marks) == 0 {
		return nil, err
	}
	v := &verdict{}
	return v, json.Unmarshal(marks[0].Value, v)
}

// scribe writes the marks of one operation. What is noted while a write is under
// way goes with the next one, together, in the order in which it was noted: the
// hooks of a thousand resources cost a few commits.
type scribe struct {
	engine *Engine
	log    logrus.FieldLogger
	id     string
	claim  journal.Claim
	ctx    context.Context // ends the repetitions
	lost   func(error)     // told once when the claim is gone

	mu      sync.Mutex
	pending map[string]json.RawMessage
	order   []string
	writing bool
	waiting []chan error // for the next write
	broken  error        // no more writes
}

func newScribe(ctx context.Context, e *Engine, log logrus.FieldLogger, entry journal.Entry, lost func(error)) *scribe {
	return &scribe{engine: e, log: log, id: entry.ID, claim: entry.Claim, ctx: ctx, lost: lost}
}

// note sets a mark, some time soon.
func (s *scribe) note(key string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		text = json.RawMessage(`null`) // values are our own structs, which encode
	}
	s.set(key, text, nil)
}

// save sets a mark and waits until it is durable, and with it all that was noted
// before.
func (s *scribe) save(ctx context.Context, key string, value json.RawMessage) error {
	done := make(chan error, 1)
	s.set(key, value, done)
	return s.await(ctx, done)
}

func (s *scribe) await(ctx context.Context, done chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *scribe) set(key string, value json.RawMessage, done chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		if done != nil {
			done <- s.broken
		}
		return
	}
	if s.pending == nil {
		s.pending = map[string]json.RawMessage{}
	}
	if _, there := s.pending[key]; !there {
		s.order = append(s.order, key)
	}
	s.pending[key] = value
	if done != nil {
		s.waiting = append(s.waiting, done)
	}
	if !s.writing {
		s.writing = true
		go s.write()
	}
}

// write writes until nothing is left.
func (s *scribe) write() {
	for {
		s.mu.Lock()
		marks := make([]journal.Mark, 0, len(s.order))
		for _, key := range s.order {
			marks = append(marks, journal.Mark{Key: key, Value: s.pending[key]})
		}
		waiting := s.waiting
		s.pending, s.order, s.waiting = nil, nil, nil
		if len(marks) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := s.persist(marks)
		if database.Refused(err) != nil {
			err = s.each(marks)
		}
		if err != nil && database.Refused(err) == nil {
			s.fail(err, waiting)
			return
		}
		for _, done := range waiting {
			done <- err
		}
	}
}

// each writes one by one, in their order, what was refused together: the rest shall
// not suffer from a mark that the database cannot keep. It returns the last refusal,
// or what is worse.
func (s *scribe) each(marks []journal.Mark) error {
	var refusal error
	for _, m := range marks {
		err := s.persist([]journal.Mark{m})
		switch {
		case err == nil:
		case database.Refused(err) == nil:
			return err
		default:
			s.log.Errorf("mark %q of %d bytes is not kept: %s", m.Key, len(m.Value), fault.Detail(err))
			refusal = err
		}
	}
	return refusal
}

// persist repeats a write while the journal is away.
func (s *scribe) persist(marks []journal.Mark) error {
	err := s.engine.journaled(s.ctx, s.log, func(ctx context.Context) error {
		return s.engine.journal.Write(ctx, s.id, s.claim, marks...)
	})
	if err != nil && s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return err
}

// fail ends the scribe: nothing that is noted after a mark that was lost may
// become durable.
func (s *scribe) fail(err error, waiting []chan error) {
	err = fmt.Errorf("write the journal: %w", err)
	s.mu.Lock()
	s.broken = err
	waiting = append(waiting, s.waiting...)
	s.waiting, s.pending, s.order = nil, nil, nil
	s.writing = false
	s.mu.Unlock()
	for _, done := range waiting {
		done <- err
	}
	if errors.Is(err, journal.ErrClaim) {
		s.lost(err)
	}
}
