// SPDX-License-Identifier: Apache-2.0

// Package load makes calls without end from clients in Go and Python, and tells
// how each of them ended, for tests that watch what faults do to them.
package load

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// How a call ends that is not answered. Other texts are the names of errors of
// the client, as it raised them.
const (
	// Timeout says that there was no answer in time.
	Timeout = "timeout"
	// WrongAnswer says that the answer was that to another call.
	WrongAnswer = "another answer"
)

// Call is one call as its client saw it, and a line of its history as JSON.
type Call struct {
	ID     string  `json:"id"`
	Method string  `json:"method"`
	Begun  float64 `json:"begun"` // seconds of the epoch
	Ended  float64 `json:"ended"`
	// Error is how it ended; empty when it was answered.
	Error string `json:"error,omitempty"`
}

// Caller calls one method after the other. The methods take an id and answer
// with it.
type Caller struct {
	Client  *rpc.Client
	Methods []string
	// Prefix begins the ids, and a counter from 1 ends them.
	Prefix string
	// Pause is from the end of a call to the next one; Every from begin to begin,
	// unless the call took longer.
	Pause, Every time.Duration
	// Report is told each call that has ended.
	Report func(Call)

	sent int
}

// Run calls until ctx ends; what is under way then is waited for. It can be run
// again, and goes on with the ids.
func (c *Caller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		begun := time.Now()
		method := c.Methods[c.sent%len(c.Methods)]
		c.sent++
		call := Call{ID: c.Prefix + strconv.Itoa(c.sent), Method: method, Begun: seconds(begun)}
		var answer string
		err := c.Client.Call(context.Background(), nil, method, map[string]any{"id": call.ID}, &answer)
		switch {
		case err == nil && answer != call.ID:
			call.Error = WrongAnswer
		case err != nil:
			call.Error = name(err)
		}
		call.Ended = seconds(time.Now())
		c.Report(call)
		pause(ctx, max(c.Pause, c.Every-time.Since(begun)))
	}
}

// Sent is how many calls it has begun. It is not to be asked while Run runs.
func (c *Caller) Sent() int { return c.sent }

// name classifies the errors of our client by what they wrap.
func name(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{{rpc.ErrTimeout, Timeout}, {rpc.ErrUndeliverable, "undeliverable"}, {rpc.ErrDelivery, "delivery"}, {rpc.ErrClosed, "closed"}} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return err.Error()
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
