// SPDX-License-Identifier: Apache-2.0

package rpc

import "sync"

// minWindow is the number of unique ids that a Python server remembers.
// oslo.messaging: amqp.py DUP_MSG_CHECK_SIZE
const minWindow = 16

// maxRemembered bounds the bytes of answers kept for repeated requests.
const maxRemembered = 16 << 20

// recent remembers recent requests, first in, first out. A job enters that order when
// it ends, so a running job is never forgotten, however many requests come meanwhile.
type recent struct {
	mu    sync.Mutex
	jobs  map[string]*job // nil value: an AtMostOnce request
	order []remembered    // ring; the zero value is an unused place
	next  int
	bytes int // of the answers in order
}

// remembered is a request whose job, if it has one, has ended.
type remembered struct {
	id  string
	job *job
}

func newRecent(window int) *recent {
	window = max(window, minWindow)
	return &recent{jobs: make(map[string]*job, window), order: make([]remembered, window)}
}

// add remembers an AtMostOnce request and reports whether the request is new. A request
// without an id is always new.
func (r *recent) add(id string) bool {
	if id == "" {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.jobs[id]; known {
		return false
	}
	r.jobs[id] = nil
	r.place(remembered{id: id})
	return true
}

// begin remembers an UntilAccepted request, or returns the job of an earlier delivery.
func (r *recent) begin(id string) (j *job, fresh bool) {
	if id == "" {
		return &job{}, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j = r.jobs[id]; j != nil {
		return j, false
	}
	j = &job{id: id}
	r.jobs[id] = j
	return j, true
}

// place takes the place of the oldest entry.
func (r *recent) place(e remembered) {
	r.drop(r.next)
	r.order[r.next] = e
	r.next = (r.next + 1) % len(r.order)
}

// drop forgets the entry at a place. A message with the same id then counts as new.
func (r *recent) drop(place int) {
	e := r.order[place]
	r.order[place] = remembered{}
	if e.id == "" {
		return
	}
	if e.job != nil {
		r.bytes -= e.job.size
	}
	if r.jobs[e.id] == e.job {
		delete(r.jobs, e.id)
	}
}

// forget removes a request that will be executed again.
func (r *recent) forget(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, j.id)
}

// finish stores the answer of a job and acknowledges its remaining deliveries. The
// oldest answers are dropped when their total size exceeds maxRemembered.
func (r *recent) finish(j *job, o outcome) {
	if j.id != "" {
		r.remember(j, len(o.result)+len(o.failure))
	}
	j.finish(o)
}

func (r *recent) remember(j *job, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if size > maxRemembered { // all others would have to go for it
		delete(r.jobs, j.id)
		return
	}
	j.size = size
	r.place(remembered{j.id, j})
	r.bytes += size
	for i := 0; r.bytes > maxRemembered && i < len(r.order); i++ {
		if place := (r.next + i) % len(r.order); r.order[place].job != nil {
			r.drop(place)
		}
	}
}

// job is one UntilAccepted request: its unacknowledged deliveries and, in the end, its
// outcome.
type job struct {
	id   string // empty: it is not remembered
	size int    // guarded by recent.mu

	mu      sync.Mutex
	ok      bool // accepted
	done    bool
	outcome outcome
	held    []Incoming
	settle  func(error)
}

func (j *job) addDelivery(m Incoming, settle func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = append(j.held, m)
	j.settle = settle
}

// join adds another delivery of the same request. If the request has been accepted, the
// delivery is acknowledged at once. done reports whether the outcome is known.
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

// requeue returns all deliveries to the broker.
func (j *job) requeue() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range j.held {
		j.settle(m.Reject(true))
	}
	j.held = nil
}
