// SPDX-License-Identifier: Apache-2.0

package checkpoint

import "slices"

// Status is the state of a checkpoint, as index.json and the RPC name it.
type Status string

// karbor: common/constants.py CHECKPOINT_STATUS_*
const (
	Error         Status = "error"
	Protecting    Status = "protecting"
	WaitCopying   Status = "wait_copying"
	Copying       Status = "copying"
	Finished      Status = "finished"
	Available     Status = "available"
	Deleting      Status = "deleting"
	Deleted       Status = "deleted"
	ErrorDeleting Status = "error-deleting"
)

// transitions lists what may follow each status, itself aside. To error,
// available and deleting leads a way from every status but deleted: by the
// flow that ends, by a reset, by the owner's death, and from deleting back when
// the flow of the deletion could not be built. Who may take which of these ways
// is the caller's to decide.
var transitions = map[Status][]Status{
	Protecting:    {Available, Error, Deleting},
	WaitCopying:   {Copying, Available, Error, Deleting},
	Copying:       {Available, Finished, Error, Deleting},
	Finished:      {Available, Error, Deleting},
	Available:     {Error, Deleting},
	Error:         {Available, Deleting},
	Deleting:      {Deleted, ErrorDeleting, Available, Error},
	ErrorDeleting: {Deleting, Available, Error},
	Deleted:       {},
}

// Known tells whether s is one of the nine statuses. The original stores any
// text that a reset asks for, so that a bank may hold others.
func (s Status) Known() bool {
	_, ok := transitions[s]
	return ok
}

// CanBecome tells whether a checkpoint in status s may be put into status to.
// A status may be written again. An unknown status can be left as error can.
func (s Status) CanBecome(to Status) bool {
	if s == to {
		return to.Known()
	}
	next, ok := transitions[s]
	if !ok {
		next = []Status{Available, Error, Deleting}
	}
	return slices.Contains(next, to)
}

// Unfinished tells whether an operation is at work on a checkpoint in status s,
// so that it needs a living owner.
func (s Status) Unfinished() bool {
	switch s {
	case Protecting, WaitCopying, Copying, Deleting:
		return true
	}
	return false
}
