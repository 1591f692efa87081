// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"math"
	"runtime"
	"slices"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// acks settles the deliveries of one channel. Goroutines that acknowledge at the same
// time share one write, and even one acknowledgement where it covers no other delivery.
// Each of them returns after the write, so that no request runs before it has been
// acknowledged.
type acks struct {
	ch amqp.Acknowledger

	// writing is held while a delivery is being settled with the broker.
	writing sync.Mutex
	ended   bool // the channel is being closed; guarded by writing

	mu    sync.Mutex
	seen  uint64              // all tags up to this one have been received
	early map[uint64]struct{} // received tags beyond seen
	open  map[uint64]struct{} // tags that are not settled
	batch *ackBatch           // of the next write
}

// ackBatch is one write for several goroutines.
type ackBatch struct {
	tags []uint64
	done chan struct{}
	err  error // valid when done is closed
}

func newAcks(ch amqp.Acknowledger) *acks {
	return &acks{ch: ch, early: make(map[uint64]struct{}), open: make(map[uint64]struct{})}
}

// received records a delivery and returns its acknowledger. Tags count from 1 on each
// channel; the tags of several consumers come in any order.
func (a *acks) received(tag uint64) *acknowledger {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[tag] = struct{}{}
	a.early[tag] = struct{}{}
	for next := a.seen + 1; len(a.early) > 0; next++ {
		if _, ok := a.early[next]; !ok {
			break
		}
		delete(a.early, next)
		a.seen = next
	}
	return &acknowledger{acks: a, tag: tag}
}

func (a *acks) ack(tag uint64) error {
	a.mu.Lock()
	r := a.batch
	first := r == nil
	if first {
		r = &ackBatch{done: make(chan struct{})}
		a.batch = r
	}
	r.tags = append(r.tags, tag)
	a.mu.Unlock()
	if !first {
		<-r.done
		return r.err
	}
	// The first goroutine writes for all that arrive while an earlier write is under way.
	// Yielding lets goroutines that are about to arrive do so.
	runtime.Gosched()
	a.writing.Lock()
	multiple := a.closeBatch(r)
	r.err = amqp.ErrClosed
	if !a.ended {
		r.err = a.write(r, multiple)
	}
	a.writing.Unlock()
	close(r.done)
	return r.err
}

// closeBatch admits no more tags to the batch. It returns the highest tag up to which
// all tags are settled or in the batch; 0 if there is none.
func (a *acks) closeBatch(r *ackBatch) (multiple uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.batch = nil
	for _, tag := range r.tags {
		delete(a.open, tag)
	}
	lowest := uint64(math.MaxUint64)
	for tag := range a.open {
		lowest = min(lowest, tag)
	}
	for _, tag := range r.tags {
		if tag < lowest && tag <= a.seen {
			multiple = max(multiple, tag)
		}
	}
	return multiple
}

func (a *acks) write(r *ackBatch, multiple uint64) error {
	if len(r.tags) == 1 {
		return a.ch.Ack(r.tags[0], false)
	}
	if multiple > 0 {
		if err := a.ch.Ack(multiple, true); err != nil {
			return err
		}
	}
	slices.Sort(r.tags)
	for _, tag := range r.tags {
		if tag <= multiple {
			continue
		}
		if err := a.ch.Ack(tag, false); err != nil {
			return err
		}
	}
	return nil
}

// reject rejects a delivery before a later acknowledgement can cover it. It requeues
// with basic.nack, because basic.reject counts as a failed attempt of a quorum queue's
// delivery limit. rabbitmq-server: from 4.3
func (a *acks) reject(tag uint64, requeue bool) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	err := error(amqp.ErrClosed)
	switch {
	case a.ended:
	case requeue:
		err = a.ch.Nack(tag, false, true)
	default:
		err = a.ch.Reject(tag, false)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, tag)
	return err
}

// ackUpTo acknowledges all deliveries up to the given one, for a consumer that no
// longer needs any of them.
func (a *acks) ackUpTo(tag uint64) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if a.ended {
		return amqp.ErrClosed
	}
	return a.ch.Ack(tag, true)
}

// end prevents further settling. It is called before the channel is closed, because an
// acknowledgement on a closed channel makes the broker close the connection.
func (a *acks) end() {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.ended = true
}

// acknowledger settles one delivery on the channel that it came on, and fails after the
// end of that channel, so that no tag ever reaches another channel.
type acknowledger struct {
	acks     *acks
	tag      uint64
	consumer *consumer // nil when unsettled deliveries are not counted
	offset   int64     // in the stream
	inStream bool
}

var _ rpc.Acknowledger = (*acknowledger)(nil)

func (a *acknowledger) Ack() error { return a.afterSettling(a.acks.ack(a.tag)) }

func (a *acknowledger) Reject(requeue bool) error {
	return a.afterSettling(a.acks.reject(a.tag, requeue))
}

// afterSettling counts the delivery as settled. The position in a stream moves only when
// the broker has been told.
func (a *acknowledger) afterSettling(err error) error {
	if a.consumer == nil {
		return err
	}
	a.consumer.unsettled.Add(-1)
	if a.inStream && err == nil {
		a.consumer.consumers.position.settled(a.offset)
	}
	return err
}
