// SPDX-License-Identifier: Apache-2.0

package rabbit

import "sync"

// streamStart makes the broker begin with the last chunk of a stream.
// oslo.messaging: impl_rabbit.py Consumer
const streamStart = "last"

// position is where a stream is read on after the loss of a channel: at the first
// message that is not settled. Later ones that were settled come again, which servers
// know by their unique ids.
type position struct {
	mu    sync.Mutex
	known bool
	next  int64              // behind the last message
	open  map[int64]struct{} // messages that are not settled
}

// take notes a message that has come.
func (p *position) take(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = make(map[int64]struct{})
	}
	p.known, p.next = true, offset+1
	p.open[offset] = struct{}{}
}

func (p *position) settle(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, offset)
}

// resume is the argument of the next consumer, which gets what is not settled again.
func (p *position) resume() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		return streamStart
	}
	for offset := range p.open {
		p.next = min(p.next, offset)
	}
	clear(p.open)
	return p.next
}

// forget is for a stream that may be another one now.
func (p *position) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
	clear(p.open)
}
