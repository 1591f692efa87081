// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/pkg/wait"
	"github.com/karbor-project/karbor/rpc"
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
	// running reports whether a status is not the last.
	running func(status string) bool
	// good is the last status when all went well.
	good string
	// ended is what became of the operation; nil if no worker can tell of it.
	ended *progress.Operation
}

// wait follows the operation, where the worker knows it, and then asks for the
// status until that is a last one. It returns the last answer and status;
// problem is why the operation counts as failed, or nil. err is why nothing is
// known, the end of ctx an *interrupted.
func (a *App) wait(ctx context.Context, s *session, w *waiting) (answer json.RawMessage, status string, problem, err error) {
	o, err := a.followOperation(ctx, s, w)
	if err != nil {
		return nil, "", nil, err
	}
	w.ended = o
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

// poll reads the status again and again until it is final, and prints each
// change.
func (a *App) poll(ctx context.Context, w *waiting) (json.RawMessage, string, error) {
	last := ""
	for pauses := wait.Exponential(a.FirstPause, longestPause); ; {
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
		if wait.Sleep(ctx, pauses.NextBackOff()) != nil {
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

// interrupted is the end of a wait whose operation continues.
type interrupted struct {
	what string // "checkpoint ID is still protecting"
	look string // the command that shows what became of it
}

func (e *interrupted) Error() string {
	return "interrupted; " + e.what + ", the worker goes on. Look at it with: " + e.look
}

// operationsVersion is the first version of the workers' interface that has
// operations, and shows the remarks of a checkpoint.
const operationsVersion = "1.1"

// operationRequest is a request about operations. Workers of an older version
// refuse it.
func operationRequest(method string, args map[string]any) client.Request {
	return client.Request{Method: method, Version: operationsVersion, Args: args}
}

func showOperation(id string) client.Request {
	return operationRequest("show_operation", map[string]any{"operation_id": id})
}

// tooOld reports whether a worker knows no operations.
func tooOld(err error) bool {
	return errors.Is(err, &rpc.Failure{Class: "UnsupportedVersion"}) || errors.Is(err, &rpc.Failure{Class: "NoSuchMethod"})
}

// selection finds the operation that a request has begun.
type selection struct {
	kind, provider, checkpoint string
	record                     string // of a restore or verification; else empty
}

// among is how many operations are looked at: as many readings of a checkpoint
// may have begun since.
const among = 100

// find returns the id, or nothing when the worker cannot tell: it may be an
// older one, or one with a journal of its own.
func (q selection) find(ctx context.Context, s *session) (string, error) {
	limit := 1
	if q.record != "" {
		limit = among
	}
	// For an administrator the operation may be of the checkpoint's project; of
	// others the worker does not heed it.
	r := operationRequest("list_operations", map[string]any{"provider_id": q.provider, "checkpoint_id": q.checkpoint,
		"operation_type": q.kind, "limit": limit, "all_tenants": true})
	r.Patient = true
	answer, err := s.Call(ctx, r)
	var refused *rpc.Failure
	if errors.As(err, &refused) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var found []progress.Operation
	if err := decode(answer, &found); err != nil {
		return "", err
	}
	for _, o := range found {
		if q.record == "" || o.RecordID == q.record {
			return o.ID, nil
		}
	}
	return "", nil
}

// followOperation shows the progress of the awaited operation until it ends. It
// returns nil if no worker reports the progress: the status has to do then.
func (a *App) followOperation(ctx context.Context, s *session, w *waiting) (*progress.Operation, error) {
	id, err := w.operation.find(ctx, s)
	if ctx.Err() != nil {
		return nil, w.interrupted("")
	}
	if err != nil || id == "" {
		return nil, err
	}
	_, o, err := a.follow(ctx, s, w.what, id)
	var refused *rpc.Failure
	if errors.As(err, &refused) {
		return nil, nil
	}
	return o, err
}

// display is what shows an operation.
type display interface {
	Show(o *progress.Operation)
	Close()
}

// display draws on a terminal. The log of the connection would be drawn over.
func (a *App) display(title string) display {
	if a.Size == nil || a.options.debug {
		return progress.NewLines(title, a.note, a.Now)
	}
	screen := progress.NewScreen(a.Err, a.Size)
	a.screen.Store(screen)
	return progress.NewPicture("karborctl: "+title, screen, a.Now)
}

// drawPause is the time between two looks at what is drawn on a terminal: the
// clock on it is to go on.
const drawPause = time.Second

// follow shows the progress of an operation until it has ended, and returns the
// last answer, as it came and read.
func (a *App) follow(ctx context.Context, s *session, title, id string) (json.RawMessage, *progress.Operation, error) {
	d := a.display(title)
	defer func() {
		d.Close()
		a.screen.Store(nil)
	}()
	r := showOperation(id)
	r.Patient = true
	longest := longestPause
	if a.screen.Load() != nil {
		longest = drawPause
	}
	stopped := &interrupted{what: "operation " + id + " has not ended", look: "karborctl operation watch " + id}
	for pauses := wait.Exponential(a.FirstPause, longest); ; {
		answer, err := s.Call(ctx, r)
		if ctx.Err() != nil {
			return nil, nil, stopped
		}
		if err != nil {
			return nil, nil, err
		}
		o := &progress.Operation{}
		if err := decode(answer, o); err != nil {
			return nil, nil, err
		}
		d.Show(o)
		if o.Ended() {
			return answer, o, nil
		}
		if wait.Sleep(ctx, pauses.NextBackOff()) != nil {
			return nil, nil, stopped
		}
	}
}

// ended is the error of an operation that has not succeeded.
func ended(o *progress.Operation) error {
	text := "operation " + o.ID + " (" + o.Type + ") ended as " + o.Status
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return errors.New(text)
}

// known makes an error about operations say what an old worker lacks.
func known(err error) error {
	if tooOld(err) {
		return fmt.Errorf("the worker is too old to tell of operations, it serves no version %s of the interface: %w", operationsVersion, err)
	}
	return err
}
