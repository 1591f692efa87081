// SPDX-License-Identifier: Apache-2.0

// Package history is what workers under test have done, as each of them wrote it
// down in the moment in which it did it, and a judge that compares it with what
// is there in the end. A worker that is killed leaves its history up to its last
// instruction.
package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// What is done to something. The names are also those of failpoints, with
// ".before" and ".after".
const (
	Begin        = "journal.begin"    // Operation, Kind, Checkpoint, Plan, Owner; then Fresh
	Start        = "journal.start"    // Operation, Owner, Generation
	Write        = "journal.write"    // Operation, Owner, Generation, Done
	End          = "journal.end"      // Operation, Owner, Generation, Status: the outcome
	Cancel       = "journal.cancel"   // Operation
	Adopt        = "journal.adopt"    // Operation, From, Owner, then Generation
	Announce     = "journal.announce" // Owner
	Retire       = "journal.retire"   // Owner
	CreateLog    = "log.create"       // Operation, Status
	UpdateLog    = "log.update"       // Operation, Status, Closed
	CreateRecord = "record.create"    // Key: its id, Status
	UpdateRecord = "record.update"    // Key: its id, Status
	Put          = "bank.put"         // Key, Owner: of the lease, Status: of an index.json, LeaseLost
	Delete       = "bank.delete"      // Key, Owner, LeaseLost
	Call         = "call"             // a request to a service, named with its method: "call.get"; Key: the path
	Ack          = "ack"
	Reply        = "reply"  // Key: id of the call, Status: digest of the answer, Text: of a failure
	Secret       = "secret" // Key: a token that was sent
)

// Phase is the side of the doing on which an event is.
type Phase string

// The phases.
const (
	Before Phase = "before"
	After  Phase = "after"
)

// Event is one line of a history. Which fields are set depends on What.
type Event struct {
	// At is CLOCK_MONOTONIC, which all processes of a machine share, in ns.
	At int64 `json:"at"`
	// Process is one run of a worker.
	Process string `json:"process"`
	// Deed pairs the events before and after, within the process.
	Deed  int64  `json:"deed,omitempty"`
	What  string `json:"what"`
	Phase Phase  `json:"phase,omitempty"`
	Error string `json:"error,omitempty"` // after

	Operation  string   `json:"operation,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Checkpoint string   `json:"checkpoint,omitempty"`
	Plan       string   `json:"plan,omitempty"`
	Owner      string   `json:"owner,omitempty"`
	From       string   `json:"from,omitempty"`
	Generation int64    `json:"generation,omitempty"`
	Fresh      bool     `json:"fresh,omitempty"`
	Key        string   `json:"key,omitempty"`
	Status     string   `json:"status,omitempty"`
	Text       string   `json:"text,omitempty"`
	Closed     bool     `json:"closed,omitempty"`
	LeaseLost  bool     `json:"lease_lost,omitempty"`
	Done       []string `json:"done,omitempty"` // "resource hook" of hooks that have finished
}

// Point is the name of the failpoint that the event is at.
func (e Event) Point() string { return e.What + "." + string(e.Phase) }

// Recorder appends events to a file that several processes share. A nil
// Recorder forgets them. It is safe for concurrent use.
type Recorder struct {
	process string
	deeds   atomic.Int64

	mu   sync.Mutex
	file *os.File
}

// NewRecorder opens the file.
func NewRecorder(path, process string) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the history: %w", err)
	}
	return &Recorder{process: process, file: file}, nil
}

// Deed returns the number of a new deed.
func (r *Recorder) Deed() int64 {
	if r == nil {
		return 0
	}
	return r.deeds.Add(1)
}

// Add writes an event down before it returns. Since it is one write at the end
// of the file, a kill leaves the whole line or none, and lines do not mix.
func (r *Recorder) Add(e Event) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At, e.Process = Now(), r.process
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

// Now is the time of events.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // the kernel has had this clock for ever
	}
	return ts.Nano()
}

// Read returns the events of a file in their order; none if there is no file.
func Read(path string) ([]Event, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	defer file.Close()
	var events []Event
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // the machine may have broken off the last line
			slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
			return events, nil
		}
		var e Event
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
		events = append(events, e)
	}
}
