// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// arrival is a delivery and when it came.
type arrival struct {
	delivery amqp.Delivery
	at       time.Time
}

// eachArrival hands deliveries on one after the other, with the times at which they
// came: those that wait here while receive blocks wait in their callers' time. The
// prefetch bounds them.
func eachArrival(deliveries <-chan amqp.Delivery, receive func(d *amqp.Delivery, at time.Time)) {
	next, done := make(chan arrival), make(chan struct{})
	go func() {
		defer close(done)
		for a := range next {
			receive(&a.delivery, a.at)
		}
	}()
	var waiting []arrival
	for deliveries != nil || len(waiting) > 0 {
		var out chan<- arrival
		var first arrival
		if len(waiting) > 0 {
			out, first = next, waiting[0]
		}
		select {
		case d, ok := <-deliveries:
			if !ok {
				deliveries = nil
				continue
			}
			waiting = append(waiting, arrival{d, time.Now()})
		case out <- first:
			waiting[0] = arrival{} // keep nothing of it
			waiting = waiting[1:]
		}
	}
	close(next)
	<-done
}
