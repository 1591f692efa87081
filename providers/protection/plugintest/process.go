// SPDX-License-Identifier: Apache-2.0

package plugintest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/karbor-project/karbor/providers/protection"
)

// errKilled is what every call of a dead process gets. No plugin knows it.
var errKilled = errors.New("plugintest: the process was killed")

// event is what happens to a process.
type event string

const (
	nothing   event = ""
	killed    event = "killed"
	handed    event = "handed over"
	drained   event = "drained"
	cancelled event = "cancelled"
)

// moment is when it happens, seen from one call.
type moment string

const (
	before moment = "before"
	// during: an upload has sent a part of its data.
	during moment = "during"
	// after: the call was done; when the process is killed its answer is lost.
	after moment = "after"
)

// cut says what happens to a process at its n-th call, counted from 1.
type cut struct {
	what event
	when moment
	call int
}

func (c cut) String() string {
	if c.what == nothing {
		return "undisturbed"
	}
	return fmt.Sprintf("%s %s call %d", c.what, c.when, c.call)
}

// Process stands for one run of the service: all calls of the plugin that it
// holds, to services, to the bank and to the service's own database, pass through
// it. One that is killed does nothing any more: every later call fails at once,
// clean-ups included.
type Process struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	drain  chan struct{}
	cut    cut

	mu     sync.Mutex
	armed  bool // calls count
	dead   bool
	fired  bool
	struck bool // what fired has happened
	calls  []string
	stream map[int]bool // calls that upload
	late   []string     // writes that began after the work was handed over
}

func newProcess(ctx context.Context, c cut) *Process {
	p := &Process{cut: c, drain: make(chan struct{}), stream: map[int]bool{}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.ctx = protection.WithDrain(p.ctx, p.drain)
	return p
}

// arm begins to count.
func (p *Process) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

// fire lets happen what is to happen.
func (p *Process) fire() {
	p.mu.Lock()
	fired := p.fired
	p.fired = true
	p.dead = p.dead || p.cut.what == killed
	p.mu.Unlock()
	if fired {
		return
	}
	switch p.cut.what {
	case killed:
		p.cancel(errKilled)
	case handed:
		p.cancel(fmt.Errorf("the worker stops: %w", protection.ErrHandover))
	case cancelled:
		p.cancel(&protection.CancelError{By: "plugintest"})
	case drained:
		close(p.drain)
	}
	p.mu.Lock()
	p.struck = true
	p.mu.Unlock()
}

// alive returns errKilled for a dead process.
func (p *Process) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errKilled
	}
	return nil
}

// is reports whether the cut is at this moment of the n-th call.
func (p *Process) is(n int, when moment) bool {
	return p.cut.what != nothing && n > 0 && p.cut.call == n && p.cut.when == when
}

// enter counts a call, 0 if calls do not count.
func (p *Process) enter(ctx context.Context, name string, writes bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return 0, errKilled
	}
	if !p.armed {
		return 0, nil
	}
	// Hooks of one process run side by side: only from here on they could know.
	if writes && p.struck && p.cut.what == handed && ctx.Err() == nil {
		p.late = append(p.late, name)
	}
	p.calls = append(p.calls, name)
	return len(p.calls), nil
}

// call does one call of the process. do gets its number.
func (p *Process) call(ctx context.Context, name string, writes bool, do func(n int) error) error {
	n, err := p.enter(ctx, name, writes)
	if err != nil {
		return err
	}
	if p.is(n, before) {
		p.fire()
		if err := p.alive(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = do(n)
	if p.is(n, after) {
		p.fire()
	}
	if gone := p.alive(); gone != nil {
		return gone
	}
	return err
}
