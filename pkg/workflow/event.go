// SPDX-License-Identifier: Apache-2.0

package workflow

import (
	"fmt"
	"time"
)

// State is what became of a task.
type State int

// The states of a task. Each starts at most once and then either finishes or
// fails; in a run that failed, those that had started are then reverted, if
// they have a Revert, and those that had not are skipped.
const (
	Started State = iota + 1
	Finished
	Failed
	Reverted
	Skipped
)

func (s State) String() string {
	switch s {
	case Started:
		return "started"
	case Finished:
		return "finished"
	case Failed:
		return "failed"
	case Reverted:
		return "reverted"
	case Skipped:
		return "skipped"
	}
	return fmt.Sprintf("state %d", int(s))
}

// Event tells of one change.
type Event struct {
	Task  string
	State State
	// Err is the failure of the task, or for Reverted that of its Revert.
	Err error
	At  time.Time
}
