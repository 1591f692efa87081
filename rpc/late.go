// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// lateRetry is the pause before a reply to a missing queue is sent again. goneFor
	// is how long a queue is not tried at all after its replies were dropped.
	// oslo.messaging: amqpdriver.py
	lateRetry = 250 * time.Millisecond
	goneFor   = 60 * time.Second
	// maxGone bounds how many queues are remembered as gone.
	// oslo.messaging: amqpdriver.py ObsoleteReplyQueuesCache
	maxGone = 200
	// maxLate bounds the replies that wait for queues, and maxLateBytes their bodies.
	maxLate      = 1024
	maxLateBytes = 64 << 20
)

// LateReplies retries the replies of a Transport whose queue is missing: a client that
// has lost its connection declares its queue again, a client that has died does not.
// For each missing queue only the oldest reply is retried and the others wait for it.
// The waiting replies are bounded and the oldest are dropped first, so that vanished
// clients cost little however much they had requested.
type LateReplies struct {
	giveUpAfter time.Duration

	mu      sync.Mutex
	missing map[string]*missingQueue
	gone    map[string]time.Time // until when a queue is not tried
	waiting list.List            // of all *lateReply, oldest first
	bytes   int                  // of their bodies
}

// missingQueue is a queue with late replies. It is removed when no reply is left.
type missingQueue struct {
	giveUp time.Time
	late   []*lateReply // oldest first
}

type lateReply struct {
	queue string
	size  int
	place *list.Element // nil when it waits no more
	turn  chan struct{} // closed when it is the first of its queue
	pause bool          // before its next attempt; valid at its turn
	over  chan struct{} // closed when it waits no more
}

// NewLateReplies returns the late replies of one transport. Replies to a queue that
// stays missing for the given time are dropped.
func NewLateReplies(patience time.Duration) *LateReplies {
	return &LateReplies{giveUpAfter: patience, missing: make(map[string]*missingQueue), gone: make(map[string]time.Time)}
}

// Send retries publishing a reply until publishing succeeds, fails with an error that
// does not wrap [ErrUndeliverable], or has taken too long. Each attempt asks body anew.
func (l *LateReplies) Send(ctx context.Context, queue string, body func() []byte, publish func(body []byte) error) error {
	reply, err := l.join(queue, body)
	if err != nil {
		return err
	}
	if reply == nil {
		text := body()
		if err = publish(text); !errors.Is(err, ErrUndeliverable) {
			return err
		}
		reply = l.enqueue(queue, len(text))
	}
	delivered := false
	defer func() { l.leave(reply, delivered) }()
	select {
	case <-reply.turn:
	case <-reply.over:
		return missing(queue)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", missing(queue), ctx.Err())
	}
	for ; ; reply.pause = true {
		if reply.pause {
			if err := l.waitForAttempt(ctx, reply); err != nil {
				return err
			}
		}
		if err := publish(body()); !errors.Is(err, ErrUndeliverable) {
			delivered = err == nil
			return err
		}
	}
}

func missing(queue string) error {
	return fmt.Errorf("reply queue %s is missing: %w", queue, ErrUndeliverable)
}

// waitForAttempt pauses before an attempt. It returns an error when no attempt is to
// follow.
func (l *LateReplies) waitForAttempt(ctx context.Context, reply *lateReply) error {
	pause, ok := l.pause(reply.queue)
	if !ok {
		return missing(reply.queue)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-reply.over:
		return missing(reply.queue)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", missing(reply.queue), ctx.Err())
	}
}

// join queues a reply behind others for the same missing queue and returns nil when
// there are none. An error means that the queue must not be tried.
func (l *LateReplies) join(queue string, body func() []byte) (*lateReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until, ok := l.gone[queue]; ok {
		if time.Now().Before(until) {
			return nil, fmt.Errorf("reply queue %s has been missing for long: %w", queue, ErrUndeliverable)
		}
		delete(l.gone, queue)
	}
	if l.missing[queue] == nil {
		return nil, nil
	}
	return l.insert(queue, len(body())), nil
}

// enqueue adds a reply whose queue turned out to be missing.
func (l *LateReplies) enqueue(queue string, size int) *lateReply {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.insert(queue, size)
}

func (l *LateReplies) insert(queue string, size int) *lateReply {
	reply := &lateReply{queue: queue, size: size, turn: make(chan struct{}), over: make(chan struct{})}
	q := l.missing[queue]
	if q == nil {
		q = &missingQueue{giveUp: time.Now().Add(l.giveUpAfter)}
		l.missing[queue] = q
	}
	if q.late = append(q.late, reply); len(q.late) == 1 {
		reply.pause = true
		close(reply.turn)
	}
	reply.place = l.waiting.PushBack(reply)
	l.bytes += size
	for l.waiting.Len() > 1 && (l.waiting.Len() > maxLate || l.bytes > maxLateBytes) {
		l.drop(l.waiting.Front().Value.(*lateReply), false)
	}
	return reply
}

// leave removes a waiting reply unless the reply has been dropped already.
func (l *LateReplies) leave(reply *lateReply, delivered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reply.place != nil {
		l.drop(reply, delivered)
	}
}

// drop removes a waiting reply and lets the next reply to the same queue go, at once
// when the removed reply was delivered.
func (l *LateReplies) drop(reply *lateReply, delivered bool) {
	l.end(reply)
	q := l.missing[reply.queue]
	first := q.late[0] == reply
	q.late = slices.DeleteFunc(q.late, func(r *lateReply) bool { return r == reply })
	switch {
	case len(q.late) == 0:
		delete(l.missing, reply.queue)
	case first:
		q.late[0].pause = !delivered
		close(q.late[0].turn)
	}
}

func (l *LateReplies) end(reply *lateReply) {
	l.waiting.Remove(reply.place)
	reply.place = nil
	l.bytes -= reply.size
	close(reply.over)
}

// pause returns the time before the next attempt for a queue, if another attempt is
// due. The time grows with the number of missing queues, so that all attempts together
// stay as few as those of Python's 64 threads. The replies to a queue that has been
// missing for too long are dropped.
func (l *LateReplies) pause(queue string) (pause time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.missing[queue]
	if q == nil {
		return 0, false
	}
	pause = lateRetry * time.Duration(1+(len(l.missing)-1)/DefaultWorkers)
	if !time.Now().Add(pause).After(q.giveUp) {
		return pause, true
	}
	for _, reply := range q.late {
		l.end(reply)
	}
	delete(l.missing, queue)
	l.markGone(queue)
	return 0, false
}

// markGone records that a queue is not to be tried for some time. When the table is
// full, the entry that would expire first is removed.
func (l *LateReplies) markGone(queue string) {
	if len(l.gone) >= maxGone {
		var oldest string
		for name, until := range l.gone {
			if oldest == "" || until.Before(l.gone[oldest]) {
				oldest = name
			}
		}
		delete(l.gone, oldest)
	}
	l.gone[queue] = time.Now().Add(goneFor)
}
