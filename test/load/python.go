// SPDX-License-Identifier: Apache-2.0

package load

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"
)

// Interpreter is Debian's Python, the one that has oslo.messaging.
const Interpreter = "/usr/bin/python3"

//go:embed python/load.py
var script string

// Python describes a client of oslo.messaging.
type Python struct {
	URL, Topic, Prefix string
	Methods            []string
	Timeout            time.Duration // whole seconds
	Callers            int
	// Pause and Every are those of a Caller.
	Pause, Every time.Duration
	// Options are of [oslo_messaging_rabbit]; those that the release does not know
	// are left out.
	Options map[string]any
}

// Command is a process that begins to call as soon as it runs. It writes each
// call that has ended, and State lines, and listens for the words "pause" and
// "run"; the end of its input ends it, after the calls under way.
func (p Python) Command() (*exec.Cmd, error) {
	if out, err := exec.Command(Interpreter, "-c", "import oslo_messaging").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s has no oslo.messaging: %w: %s", Interpreter, err, out)
	}
	options := p.Options
	if options == nil {
		options = map[string]any{}
	}
	settings, err := json.Marshal(map[string]any{
		"url": p.URL, "topic": p.Topic, "prefix": p.Prefix, "methods": p.Methods,
		"timeout": int(p.Timeout.Seconds()), "callers": p.Callers,
		"pause": p.Pause.Seconds(), "every": p.Every.Seconds(), "options": options,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the settings of load.py: %w", err)
	}
	return exec.Command(Interpreter, "-c", script, string(settings)), nil
}

// State is what a client says of itself.
type State struct {
	State string `json:"state"`
	// Sent is how many calls each caller has begun; of the state "idle", in which
	// none is under way.
	Sent []int `json:"sent,omitempty"`
	// Goroutines and Heap, in bytes that are alive, belong to the state "stats".
	Goroutines int   `json:"goroutines,omitempty"`
	Heap       int64 `json:"heap,omitempty"`
}
