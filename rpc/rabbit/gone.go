// SPDX-License-Identifier: Apache-2.0

package rabbit

import (
	"sync"
	"time"
)

// goneLimit bounds the reply queues that are remembered.
// oslo.messaging: amqpdriver.py ObsoleteReplyQueuesCache
const goneLimit = 200

// goneQueues remembers for a minute which reply queues had been missing for so
// long that a reply was given up.
type goneQueues struct {
	now func() time.Time

	mu    sync.Mutex
	until map[string]time.Time
}

func newGoneQueues(now func() time.Time) *goneQueues {
	return &goneQueues{now: now, until: make(map[string]time.Time)}
}

func (g *goneQueues) has(queue string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.until[queue]
	if !ok {
		return false
	}
	if g.now().Before(until) {
		return true
	}
	delete(g.until, queue)
	return false
}

// add remembers a queue; when there are too many, the one that is forgotten first
// anyway makes room.
func (g *goneQueues) add(queue string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.until) >= goneLimit {
		var oldest string
		for name, until := range g.until {
			if oldest == "" || until.Before(g.until[oldest]) {
				oldest = name
			}
		}
		delete(g.until, oldest)
	}
	g.until[queue] = g.now().Add(goneFor)
}
