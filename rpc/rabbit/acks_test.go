// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// brokerSide settles as a broker does: every tag once, and a multiple
// acknowledgement covers all that were sent.
type brokerSide struct {
	mu       sync.Mutex
	sent     uint64
	acked    map[uint64]bool
	rejected map[uint64]bool
	wrong    []string
	writes   int
	closed   bool
	enter    chan struct{} // when set: tells of a write
	leave    chan struct{} // when set: lets it end
}

func newBrokerSide(sent uint64) *brokerSide {
	return &brokerSide{sent: sent, acked: make(map[uint64]bool), rejected: make(map[uint64]bool)}
}

func (b *brokerSide) Ack(tag uint64, multiple bool) error {
	if b.enter != nil {
		b.enter <- struct{}{}
		<-b.leave
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return amqp.ErrClosed
	}
	b.writes++
	first := tag
	if multiple {
		first = 1
	}
	for t := first; t <= tag; t++ {
		if multiple && (b.acked[t] || b.rejected[t]) {
			continue
		}
		if b.acked[t] || b.rejected[t] || t > b.sent {
			b.wrong = append(b.wrong, fmt.Sprintf("ack of %d", t))
		}
		b.acked[t] = true
	}
	return nil
}

// Nack is how messages are given back.
func (b *brokerSide) Nack(tag uint64, multiple, requeue bool) error {
	return b.reject(tag, !multiple && requeue)
}

// Reject is how messages are dropped.
func (b *brokerSide) Reject(tag uint64, requeue bool) error { return b.reject(tag, !requeue) }

func (b *brokerSide) reject(tag uint64, rightly bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !rightly {
		b.wrong = append(b.wrong, fmt.Sprintf("another method for %d", tag))
	}
	if b.acked[tag] || b.rejected[tag] {
		b.wrong = append(b.wrong, fmt.Sprintf("reject of %d", tag))
	}
	b.rejected[tag] = true
	return nil
}

// What nobody has acknowledged stays unacknowledged, whatever comes together.
func TestAcksSettleEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	const count = 4000
	b := newBrokerSide(count)
	a := newAcks(b)
	tags := make([]uint64, count)
	for i := range tags {
		tags[i] = uint64(i + 1)
	}
	// Several consumers hand deliveries on nearly in order.
	for i := 0; i+8 <= count; i += 8 {
		part := tags[i : i+8]
		rand.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	held := make(map[uint64]bool)
	var working sync.WaitGroup
	var mu sync.Mutex
	for _, tag := range tags {
		d := a.received(tag)
		working.Go(func() {
			switch {
			case tag%97 == 0: // held for ever
				mu.Lock()
				held[tag] = true
				mu.Unlock()
			case tag%31 == 0:
				if err := d.Reject(tag%2 == 0); err != nil {
					t.Error(err)
				}
			default:
				if err := d.Ack(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	if len(b.wrong) > 0 {
		t.Error(b.wrong)
	}
	for tag := uint64(1); tag <= count; tag++ {
		want := [3]bool{!held[tag] && tag%31 != 0, !held[tag] && tag%31 == 0, held[tag]}
		if got := [3]bool{b.acked[tag], b.rejected[tag], !b.acked[tag] && !b.rejected[tag]}; got != want {
			t.Errorf("tag %d: acked, rejected, open are %v, want %v", tag, got, want)
		}
	}
	if len(a.open) != len(held) || len(a.early) != 0 {
		t.Errorf("%d open, %d early", len(a.open), len(a.early))
	}
}

// A tag that the library has not handed over yet must not be covered.
func TestAcksDoNotCoverWhatHasNotCome(t *testing.T) {
	t.Parallel()
	b := newBrokerSide(4)
	a := newAcks(b)
	r := &ackBatch{done: make(chan struct{})}
	for _, tag := range []uint64{1, 3, 4} {
		a.received(tag)
		r.tags = append(r.tags, tag)
	}
	if err := a.write(r, a.closeBatch(r)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint64]bool{1: true, 3: true, 4: true}, b.acked); diff != "" {
		t.Error(diff)
	}
}

func TestAcksShareAWrite(t *testing.T) {
	t.Parallel()
	const count = 50
	b := newBrokerSide(count)
	b.enter, b.leave = make(chan struct{}), make(chan struct{})
	a := newAcks(b)
	var working sync.WaitGroup
	acknowledgers := make([]*acknowledger, count)
	for i := range acknowledgers {
		acknowledgers[i] = a.received(uint64(i + 1))
	}
	ack := func(d *acknowledger) {
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
	}
	working.Go(func() { ack(acknowledgers[0]) })
	<-b.enter
	for _, d := range acknowledgers[1:] {
		working.Go(func() { ack(d) })
	}
	for gathered := 0; gathered < count-1; {
		a.mu.Lock()
		if a.batch != nil {
			gathered = len(a.batch.tags)
		}
		a.mu.Unlock()
	}
	b.leave <- struct{}{}
	<-b.enter
	b.leave <- struct{}{}
	working.Wait()
	if b.writes != 2 || len(b.acked) != count {
		t.Errorf("%d writes settle %d deliveries", b.writes, len(b.acked))
	}
}

func TestAcksFailOnAClosedChannel(t *testing.T) {
	t.Parallel()
	b := newBrokerSide(3)
	b.closed = true
	a := newAcks(b)
	errs := make([]error, 3)
	var working sync.WaitGroup
	for i := range errs {
		d := a.received(uint64(i + 1))
		working.Go(func() { errs[i] = d.Ack() })
	}
	working.Wait()
	if slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, amqp.ErrClosed) }) {
		t.Error(errs)
	}
}

// Nothing is settled once the channel is being closed.
func TestAcksEndBeforeTheirChannel(t *testing.T) {
	t.Parallel()
	b := newBrokerSide(4)
	a := newAcks(b)
	first, second, third := a.received(1), a.received(2), a.received(3)
	if err := first.Ack(); err != nil {
		t.Fatal(err)
	}
	a.end()
	for name, err := range map[string]error{
		"ack": second.Ack(), "give back": third.Reject(true), "drop": a.received(4).Reject(false), "ack all": a.ackUpTo(4),
	} {
		if !errors.Is(err, amqp.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(b.acked) != 1 || len(b.rejected) != 0 {
		t.Errorf("acked %v, rejected %v", b.acked, b.rejected)
	}
}
