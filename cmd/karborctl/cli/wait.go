// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/cmd/karborctl/progress"
)

// longestPause is the time between two looks at something that takes long.
const longestPause = 2 * time.Second

// waiting says what to wait for.
type waiting struct {
	what string // "checkpoint ID", for messages
	look string // the command that shows it
	// operation is what works on it.
	operation selection
	// status answers what the worker says, and the status in it.
	status func(context.Context) (json.RawMessage, string, error)
	// running tells whether a status is not the last.
	running func(status string) bool
	// good is the last status when all went well.
	good string
}

// wait follows the operation, where the worker knows it, and then asks for the
// status until that is a last one. It returns the last answer and status;
// problem is why the operation counts as failed, or nil. err is why nothing is
// known, the end of ctx an *interrupted.
func (a *App) wait(ctx context.Context, s *session, w waiting) (answer json.RawMessage, status string, problem, err error) {
	o, err := a.followOperation(ctx, s, w)
	if err != nil {
		return nil, "", nil, err
	}
	if o != nil && o.Status != progress.Succeeded {
		// That it failed may not have reached the bank: the status is no more
		// than what is left there.
		w.running = func(string) bool { return false }
	}
	if answer, status, err = a.poll(ctx, w); err != nil {
		return nil, "", nil, err
	}
	switch {
	case o != nil && o.Status != progress.Succeeded && o.Reason != "":
		problem = fmt.Errorf("%s ended as %s: %s (request %s)", w.what, status, o.Reason, s.caller.RequestID)
	case status != w.good || o != nil && o.Status != progress.Succeeded:
		// Only the worker knows why: the request id leads there.
		problem = fmt.Errorf("%s ended as %s; the worker's log tells why, look there for %s", w.what, status, s.caller.RequestID)
	}
	return answer, status, problem, nil
}

// poll looks again and again until the status is a last one, and tells of each
// change.
func (a *App) poll(ctx context.Context, w waiting) (json.RawMessage, string, error) {
	last := ""
	for p := a.pauses(longestPause); ; {
		answer, status, err := w.status(ctx)
		if ctx.Err() != nil {
			return nil, "", w.interrupted(last)
		}
		if err != nil {
			return nil, "", err
		}
		if status != last {
			a.note(w.what + ": " + status)
			last = status
		}
		if !w.running(status) {
			return answer, status, nil
		}
		if !p.wait(ctx) {
			return nil, "", w.interrupted(last)
		}
	}
}

func (w *waiting) interrupted(last string) error {
	what := w.what
	if last != "" {
		what += " is still " + last
	}
	return &interrupted{what: what, look: w.look}
}

// pauses lie between looks. They grow.
type pauses struct{ next, longest time.Duration }

func (a *App) pauses(longest time.Duration) *pauses { return &pauses{a.FirstPause, longest} }

// wait returns false when ctx has ended.
func (p *pauses) wait(ctx context.Context) bool {
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	p.next = min(p.next*3/2, p.longest)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
