// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// fault is one thing that goes wrong, and the rest before it. They begin one after
// the other, so that a seed gives the same ones in the same order.
type fault struct {
	kind   string
	choice uint          // which connection, queue or process, as far as there is a choice
	lasts  time.Duration // for those that are mended
	amount int           // milliseconds or bytes
	// lingers lets the next faults come before a fault of a connection is mended.
	lingers bool
	rest    time.Duration
}

// The kinds of faults. Those of connections are done by a proxy between a peer and
// the broker.
const (
	cut         = "connections cut"
	reset       = "connections reset"
	stall       = "connections stalled"
	refuse      = "connections refused"
	delay       = "connections slow"
	chunk       = "connections in pieces"
	closeAll    = "close_all_connections"
	topicQueue  = "topic queue deleted"
	serverQueue = "server's queue deleted"
	fanoutQueue = "fanout queue deleted"
	replyQueue  = "reply queue deleted"
	stopApp     = "broker stop_app, start_app"
	killBroker  = "broker killed"
	alarm       = "memory alarm"
	termServer  = "server process ended"
	killServer  = "server process killed"
)

// weights are how often each kind comes, in relation to the others. What stops
// all traffic comes less often, or there would be little to disturb.
var weights = []struct {
	kind   string
	weight int
}{
	{cut, 6}, {reset, 6},
	{stall, 4}, {refuse, 3},
	{delay, 3}, {chunk, 3},
	{closeAll, 3},
	{topicQueue, 2}, {serverQueue, 1},
	{fanoutQueue, 2}, {replyQueue, 3},
	{stopApp, 1}, {killBroker, 2},
	{alarm, 2},
	{termServer, 4}, {killServer, 4},
}

// plan draws faults without end.
type plan struct{ r *rand.Rand }

func newPlan(seed uint64) plan { return plan{rand.New(rand.NewPCG(seed, seed))} }

func (p plan) next() fault {
	all := 0
	for _, w := range weights {
		all += w.weight
	}
	f := fault{
		choice:  uint(p.r.Uint32()),
		lasts:   between(p.r, time.Second, 8*time.Second),
		amount:  8 + p.r.IntN(93),
		rest:    between(p.r, 2*time.Second, 6*time.Second),
		lingers: p.r.IntN(2) == 0,
	}
	drawn := p.r.IntN(all)
	for _, w := range weights {
		if drawn -= w.weight; drawn < 0 {
			f.kind = w.kind
			break
		}
	}
	return f
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low))).Round(time.Millisecond)
}

func (f fault) String() string {
	how := ""
	switch f.kind {
	case stall, refuse, alarm:
	case delay:
		how = fmt.Sprintf(" (%d ms)", f.amount)
	case chunk:
		how = fmt.Sprintf(" (%d bytes)", f.amount)
	default:
		return f.kind
	}
	how += " for " + f.lasts.String()
	if f.lingers && f.kind != alarm {
		how += ", meanwhile"
	}
	return f.kind + how
}
