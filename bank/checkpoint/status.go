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

// transitions lists the statuses that may follow each status other than itself. Every status but
// deleted can become error, available or deleting: when a flow ends, by a reset, after the owner's
// death, and from deleting back when the flow of the deletion could not be built. The caller
// decides which of these transitions it may make.
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

// Known reports whether s is one of the nine statuses. The original stores any text that a reset
// asks for, so a bank may hold others.
func (s Status) Known() bool {
	_, ok := transitions[s]
	return ok
}

// CanBecome reports whether a checkpoint in status s may be put into status to. A status may be
// written again. An unknown status has the same transitions as error, and may also become error.
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

// Unfinished reports whether an operation is working on a checkpoint in status s, so that the
// checkpoint needs a live owner.
func (s Status) Unfinished() bool {
	switch s {
	case Protecting, WaitCopying, Copying, Deleting:
		return true
	}
	return false
}
