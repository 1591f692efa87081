// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"slices"
	"sync"
)

// minWindow is the number of unique ids that a Python server remembers.
// oslo.messaging: amqp.py DUP_MSG_CHECK_SIZE
const minWindow = 16

// maxRemembered bounds the bytes of answers kept for repeated requests.
const maxRemembered = 16 << 20

// recent remembers the requests of late, first in first out.
type recent struct {
	mu    sync.Mutex
	jobs  map[string]*job // nil value: an AtMostOnce request
	order []string        // ring of ids; "" is an unused place
	next  int
	bytes int
}

func newRecent(window int) *recent {
	window = max(window, minWindow)
	return &recent{jobs: make(map[string]*job, window), order: make([]string, window)}
}

// add remembers an AtMostOnce request and reports whether it is new. Requests
// without an id always are.
func (r *recent) add(id string) bool {
	if id == "" {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.jobs[id]; known {
		return false
	}
	r.insert(id, nil)
	return true
}

// begin remembers an UntilAccepted request, or finds the job of its first coming.
func (r *recent) begin(id string) (j *job, fresh bool) {
	if id == "" {
		return &job{}, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j = r.jobs[id]; j != nil {
		return j, false
	}
	j = &job{}
	r.insert(id, j)
	return j, true
}

// insert takes the oldest place. A job that is still running is forgotten too:
// the window is far larger than the number of workers.
func (r *recent) insert(id string, j *job) {
	r.drop(r.order[r.next])
	r.jobs[id] = j
	r.order[r.next] = id
	r.next = (r.next + 1) % len(r.order)
}

func (r *recent) drop(id string) {
	if id == "" {
		return
	}
	if j := r.jobs[id]; j != nil {
		r.bytes -= j.size
	}
	delete(r.jobs, id)
}

// forget makes room for a request that will be executed again.
func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(id)
	// Its place must not drop the entry that comes next under this id.
	if i := slices.Index(r.order, id); i >= 0 && id != "" {
		r.order[i] = ""
	}
}

// finish stores the answer of a job and acknowledges what still waits. The oldest
// answers go when all of them grow too big.
func (r *recent) finish(j *job, o outcome) {
	r.mu.Lock()
	j.size = len(o.result) + len(o.failure)
	r.bytes += j.size
	for i := 0; r.bytes > maxRemembered && i < len(r.order); i++ {
		place := (r.next + i) % len(r.order)
		r.drop(r.order[place])
		r.order[place] = ""
	}
	r.mu.Unlock()
	j.finish(o)
}

// job is one UntilAccepted request: its deliveries that are not acknowledged yet
// and, in the end, its outcome.
type job struct {
	size int // guarded by recent.mu

	mu      sync.Mutex
	ok      bool // accepted
	done    bool
	outcome outcome
	held    []Incoming
	settle  func(error)
}

func (j *job) hold(m Incoming, settle func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, m)
	j.settle = settle
}

// join adds a further delivery of the same request. Once the request is accepted
// the delivery is acknowledged at once; done says that the outcome is known.
func (j *job) join(m Incoming, settle func(error)) (o outcome, done bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ok {
		settle(m.Ack())
	} else {
		j.held = append(j.held, m)
	}
	return j.outcome, j.done
}

func (j *job) accept() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ok = true
	for _, m := range j.held {
		j.settle(m.Ack())
	}
	j.held = nil
}

func (j *job) accepted() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ok
}

func (j *job) finish(o outcome) {
	j.accept()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outcome, j.done = o, true
}

// giveBack returns all deliveries to the broker.
func (j *job) giveBack() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.held {
		j.settle(m.Reject(true))
	}
	j.held = nil
}
