// SPDX-License-Identifier: Apache-2.0

// Package queue starts jobs within limits, taking turns between projects. A project that submits a
// thousand jobs does not delay the others; within a project, jobs start in the order of submission.
package queue

import (
	"slices"
	"sync"
)

// Limits bounds the jobs that run at the same time; 0 means no limit.
type Limits struct {
	Total       int
	PerProvider int
	PerProject  int
}

// Job is a job that waits or runs. Its exported fields do not change after it has been submitted.
type Job struct {
	ID, Provider, Project string
	// Run does the work, on a goroutine of its own. Release must be called at its end.
	Run func()
	// Size is the memory, in bytes, that a waiting job holds. Park releases the memory if the queue
	// has no room for it, and does not block.
	Size int
	Park func()

	state  state
	parked bool
}

// state is the state of a job.
type state int

const (
	idle    state = iota // not submitted, or done
	waiting              // for its turn
	running              // counted against the limits
)

// Queue starts jobs. Submit never blocks, since an RPC must not wait for its turn. It is safe for
// concurrent use.
type Queue struct {
	limits Limits
	room   int

	mu        sync.Mutex
	running   int
	providers map[string]int // running jobs
	projects  map[string]int
	queues    map[string][]*Job
	turns     []string // projects with waiting jobs, the next one first
	waiting   int
	kept      int // bytes held by waiting jobs
	closed    bool
}

// New returns a queue whose waiting jobs hold at most room bytes; further jobs are parked.
func New(l Limits, room int) *Queue {
	return &Queue{limits: l, room: room, providers: map[string]int{}, projects: map[string]int{}, queues: map[string][]*Job{}}
}

// Submit runs a job when its turn has come. It reports whether the queue still accepts jobs.
func (q *Queue) Submit(j *Job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if len(q.queues[j.Project]) == 0 {
		q.turns = append(q.turns, j.Project)
	}
	q.queues[j.Project] = append(q.queues[j.Project], j)
	q.waiting++
	q.kept += j.Size
	j.state = waiting
	q.dispatch()
	if j.state == waiting && q.kept > q.room {
		q.kept -= j.Size
		j.parked = true
		j.Park()
	}
	return true
}

// dispatch starts the jobs that the limits allow.
func (q *Queue) dispatch() {
	for i := 0; i < len(q.turns) && (q.limits.Total == 0 || q.running < q.limits.Total); {
		project := q.turns[i]
		at := q.startable(project)
		if at < 0 {
			i++
			continue
		}
		j := q.take(project, at)
		j.state = running
		q.running++
		q.providers[j.Provider]++
		q.projects[j.Project]++
		// A project that has had its turn goes to the end, and the search begins again with the
		// first.
		q.turns = slices.Delete(q.turns, i, i+1)
		if len(q.queues[project]) > 0 {
			q.turns = append(q.turns, project)
		}
		i = 0
		go j.Run()
	}
}

// startable returns the index of the first job of a project that the limits allow to run, or -1.
func (q *Queue) startable(project string) int {
	if q.limits.PerProject > 0 && q.projects[project] >= q.limits.PerProject {
		return -1
	}
	if q.limits.PerProvider == 0 {
		return 0
	}
	return slices.IndexFunc(q.queues[project], func(j *Job) bool { return q.providers[j.Provider] < q.limits.PerProvider })
}

// take removes a waiting job. It drops a project without further jobs.
func (q *Queue) take(project string, at int) *Job {
	queue := q.queues[project]
	j := queue[at]
	queue = slices.Delete(queue, at, at+1)
	if len(queue) == 0 {
		delete(q.queues, project)
	} else {
		q.queues[project] = queue
	}
	q.waiting--
	j.state = idle
	if !j.parked {
		q.kept -= j.Size
	}
	return j
}

// Release frees the place of a finished job. It does nothing for a job that is not running.
func (q *Queue) Release(j *Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.state != running {
		return
	}
	j.state = idle
	q.running--
	decrease(q.providers, j.Provider)
	decrease(q.projects, j.Project)
	q.dispatch()
}

func decrease(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// Withdraw removes a waiting job and returns it, or nil if no such job waits.
func (q *Queue) Withdraw(id string) *Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for project, queue := range q.queues {
		at := slices.IndexFunc(queue, func(j *Job) bool { return j.ID == id })
		if at < 0 {
			continue
		}
		j := q.take(project, at)
		if len(q.queues[project]) == 0 {
			q.turns = slices.DeleteFunc(q.turns, func(p string) bool { return p == project })
		}
		return j
	}
	return nil
}

// Positions returns the position of each waiting job, from 1, in the order in which they would
// start if only the turns of the projects counted.
func (q *Queue) Positions() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	places := make(map[string]int, q.waiting)
	for round := 0; len(places) < q.waiting; round++ {
		for _, project := range q.turns {
			if queue := q.queues[project]; round < len(queue) {
				places[queue[round].ID] = len(places) + 1
			}
		}
	}
	return places
}

// Waiting returns the number of waiting jobs of a project.
func (q *Queue) Waiting(project string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queues[project])
}

// Counts returns the numbers of running and waiting jobs.
func (q *Queue) Counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.waiting
}

// Close prevents further starts, and removes and returns the waiting jobs.
func (q *Queue) Close() []*Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var dropped []*Job
	for _, project := range q.turns {
		dropped = append(dropped, q.queues[project]...)
	}
	q.queues, q.turns, q.waiting, q.kept = map[string][]*Job{}, nil, 0, 0
	return dropped
}
