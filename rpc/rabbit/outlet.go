// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"fmt"
	"hash/maphash"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// outletCount is the number of publishing channels. Messages for one queue use
	// the same channel and so keep their order.
	outletCount = 4
	// confirmWindow bounds the unconfirmed messages of a channel.
	confirmWindow = 256
)

// outletSeed spreads routing keys over the outlets of this process.
var outletSeed = maphash.MakeSeed()

func outletOf(exchange, key string) int {
	return int((maphash.String(outletSeed, exchange) ^ maphash.String(outletSeed, key)) % outletCount)
}

// outlet is a channel in confirm mode that many goroutines publish on. Confirms
// come in while others publish.
type outlet struct {
	session *session
	slot    int // among the session's outlets
	ch      *amqp.Channel
	window  chan struct{}
	closes  chan *amqp.Error
	// returns holds what the broker could not route. The broker sends a return
	// before the confirm of the same message, and the library keeps that order, so
	// whoever has seen the confirm finds the return here.
	returns chan amqp.Return
	// patience is that with missing confirms.
	patience patience

	mu       sync.Mutex
	returned map[string]struct{} // bodies; each is unique by its _unique_id
	reason   error               // why the broker closed the channel
}

// outlet opens the n-th publishing channel when it is needed.
func (s *session) outlet(n int) (*outlet, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if o := s.outlets[n]; o != nil && !o.ch.IsClosed() {
		return o, nil
	}
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("opening a channel to publish: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("asking for publisher confirms: %w", err)
	}
	o := &outlet{
		session:  s,
		slot:     n,
		ch:       ch,
		window:   make(chan struct{}, confirmWindow),
		closes:   ch.NotifyClose(make(chan *amqp.Error, 1)),
		returns:  ch.NotifyReturn(make(chan amqp.Return, confirmWindow)),
		returned: make(map[string]struct{}),
	}
	s.outlets[n] = o
	return o, nil
}

// wasReturned reports whether a confirmed mandatory message came back.
func (o *outlet) wasReturned(body []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		select {
		case r, ok := <-o.returns:
			if ok {
				o.returned[string(r.Body)] = struct{}{}
				continue
			}
		default:
		}
		break
	}
	_, found := o.returned[string(body)]
	delete(o.returned, string(body))
	return found
}

// closed gives the broker's reason for closing the channel.
func (o *outlet) closed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason == nil {
		o.reason = amqp.ErrClosed
		// The library delivers the reason before the channel counts as closed for
		// confirms, hence without waiting.
		if e := <-o.closes; e != nil {
			o.reason = e
		}
	}
	return o.reason
}
