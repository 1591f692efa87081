// SPDX-License-Identifier: Apache-2.0

package checkpoint

import "sync"

// locks holds a lock for each checkpoint that is being written. The zero value is ready for use.
type locks struct {
	mu   sync.Mutex
	held map[string]*idLock
}

type idLock struct {
	sync.Mutex
	users int // holders and waiters
}

// lock acquires the lock of id and returns the function that releases it.
func (l *locks) lock(id string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*idLock{}
	}
	one, ok := l.held[id]
	if !ok {
		one = &idLock{}
		l.held[id] = one
	}
	one.users++
	l.mu.Unlock()

	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.held, id)
		}
	}
}
