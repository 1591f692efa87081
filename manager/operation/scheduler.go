// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"slices"
	"sync"
)

// Limits bound the operations that run at a time, and those of a project that wait;
// 0 is no limit.
type Limits struct {
	Total       int
	PerProvider int
	PerProject  int
	// Queued bounds the operations of one project that wait, and Bytes what those of
	// one project are about, whether they wait or run. What is beyond is refused.
	Queued int
	Bytes  int
}

// waitingBytes is how much of what waiting operations are about is kept in memory.
// The rest is read again when its turn has come.
const waitingBytes = 32 << 20

// scheduler lets operations run within the limits. Projects take turns, so that
// one that asks for a thousand operations does not keep the others from theirs;
// within a project the first come is served first. Submitting never blocks: an
// RPC must not wait for a slot.
type scheduler struct {
	limits Limits

	mu        sync.Mutex
	running   int
	providers map[string]int // running ones
	projects  map[string]int
	queues    map[string][]*job
	turns     []string // projects with a queue, the next one first
	waiting   int
	kept      int // bytes of waiting jobs that are in memory
	room      int // for them
	closed    bool
}

// job is one operation that waits or runs.
type job struct {
	id, provider, project string
	run                   func()
	size                  int    // in bytes, of what it is about
	park                  func() // forgets that
	waiting, parked       bool
	once                  sync.Once // gives the slot back
}

func newScheduler(l Limits) *scheduler {
	return &scheduler{limits: l, room: waitingBytes, providers: map[string]int{}, projects: map[string]int{}, queues: map[string][]*job{}}
}

// submit runs a job on a goroutine of its own when its turn has come. It tells
// whether it takes jobs at all.
func (s *scheduler) submit(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if len(s.queues[j.project]) == 0 {
		s.turns = append(s.turns, j.project)
	}
	s.queues[j.project] = append(s.queues[j.project], j)
	s.waiting++
	s.kept += j.size
	j.waiting = true
	s.dispatch()
	if j.waiting && s.kept > s.room {
		s.kept -= j.size
		j.parked = true
		j.park()
	}
	return true
}

// dispatch starts what may start.
func (s *scheduler) dispatch() {
	for i := 0; i < len(s.turns) && (s.limits.Total == 0 || s.running < s.limits.Total); {
		project := s.turns[i]
		at := s.startable(project)
		if at < 0 {
			i++
			continue
		}
		j := s.take(project, at)
		s.running++
		s.providers[j.provider]++
		s.projects[j.project]++
		// Who has had a turn goes to the end; the others are looked at from the
		// first again.
		s.turns = slices.Delete(s.turns, i, i+1)
		if len(s.queues[project]) > 0 {
			s.turns = append(s.turns, project)
		}
		i = 0
		go j.run()
	}
}

// startable is the place of the first job of a project that the limits let run,
// or -1.
func (s *scheduler) startable(project string) int {
	if s.limits.PerProject > 0 && s.projects[project] >= s.limits.PerProject {
		return -1
	}
	if s.limits.PerProvider == 0 {
		return 0
	}
	return slices.IndexFunc(s.queues[project], func(j *job) bool { return s.providers[j.provider] < s.limits.PerProvider })
}

// take removes a waiting job. A queue without jobs is dropped.
func (s *scheduler) take(project string, at int) *job {
	queue := s.queues[project]
	j := queue[at]
	queue = slices.Delete(queue, at, at+1)
	if len(queue) == 0 {
		delete(s.queues, project)
	} else {
		s.queues[project] = queue
	}
	s.waiting--
	j.waiting = false
	if !j.parked {
		s.kept -= j.size
	}
	return j
}

// release gives the slot of a job back, once.
func (s *scheduler) release(j *job) {
	j.once.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		decrease(s.providers, j.provider)
		decrease(s.projects, j.project)
		s.dispatch()
	})
}

func decrease(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// withdraw takes a waiting job out and tells whether it was waiting.
func (s *scheduler) withdraw(id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for project, queue := range s.queues {
		at := slices.IndexFunc(queue, func(j *job) bool { return j.id == id })
		if at < 0 {
			continue
		}
		j := s.take(project, at)
		if len(s.queues[project]) == 0 {
			s.turns = slices.DeleteFunc(s.turns, func(p string) bool { return p == project })
		}
		return j
	}
	return nil
}

// positions gives the place of each waiting job, from 1, in the order in which
// they would start if only the projects' turns counted.
func (s *scheduler) positions() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := make(map[string]int, s.waiting)
	for round := 0; len(places) < s.waiting; round++ {
		for _, project := range s.turns {
			if queue := s.queues[project]; round < len(queue) {
				places[queue[round].id] = len(places) + 1
			}
		}
	}
	return places
}

// queued is the number of a project's jobs that wait.
func (s *scheduler) queued(project string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queues[project])
}

func (s *scheduler) counts() (running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running, s.waiting
}

// close lets no more jobs start, and drops and returns those that wait.
func (s *scheduler) close() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var dropped []*job
	for _, project := range s.turns {
		dropped = append(dropped, s.queues[project]...)
	}
	s.queues, s.turns, s.waiting, s.kept = map[string][]*job{}, nil, 0, 0
	return dropped
}
