// SPDX-License-Identifier: Apache-2.0

// Package journal keeps the state by which running operations survive their process:
// the owner of each, its request, and its progress. It knows no checkpoint and no
// plugin: input, answers and marks are documents of its callers.
//
// An entry is owned by one worker at a time. A claim, the owner's id and a
// generation that counts up with each change of hands, guards every write: a
// worker that was taken for dead and wakes up again can write nothing more.
// Workers announce themselves for a while at a time, by the clock of the
// database, so that clocks of machines need not agree.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrNotFound reports an entry that is not there, or was pruned.
	ErrNotFound = errors.New("journal has no such operation")
	// ErrClaim reports that somebody else owns the entry by now, or that it has
	// ended.
	ErrClaim = errors.New("the operation belongs to another worker, or has ended")
	// ErrOwnerLives reports an adoption from an owner whose announcement still
	// holds.
	ErrOwnerLives = errors.New("the operation's owner is alive")
	// ErrEnded reports a request to cancel an operation that has ended.
	ErrEnded = errors.New("the operation has ended")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("the journal is closed")
)

// BusyError reports that another operation works on the same subject.
type BusyError struct{ Other Entry }

func (e *BusyError) Error() string {
	return "operation " + e.Other.ID + " (" + e.Other.Kind + ") is at work on " + e.Other.Subject
}

// State is how far an entry has come.
type State string

// The states, in their order.
const (
	Queued  State = "queued"
	Running State = "running"
	Ended   State = "ended"
)

// Outcome is how an entry ended; empty before.
type Outcome string

// The outcomes.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
)

// Claim is the right to write to an entry.
type Claim struct {
	Owner      string // id of the worker's run, a UUID
	Generation int64  // from 1
}

// Entry is one operation.
type Entry struct {
	ID string // a UUID
	// Key is the idempotency key: no two entries share one. Empty means none.
	Key  string
	Kind string
	// Subject is what the operation works on, and Exclusive that no other entry
	// that has not ended may work on it at the same time. Two entries that are
	// not exclusive share it.
	Subject   string
	Exclusive bool

	// What listings select and show; any may be empty.
	ProviderID   string
	CheckpointID string
	PlanID       string
	ProjectID    string
	RecordID     string // of the restore or verification

	// Input is what the operation starts from, at most 16 MiB. It does not change
	// until End replaces it. Secrets in it are the caller's to seal.
	Input json.RawMessage

	Claim
	State       State
	Outcome     Outcome
	Reason      string // why it failed or was cancelled
	CancelledBy string // who asked for its end, empty if nobody did

	// UTC with microseconds, by the clock of the process. Zero: not yet. Begin
	// sets CreatedAt where the caller did not.
	CreatedAt time.Time
	StartedAt time.Time
	EndedAt   time.Time
}

// Mark is a document within an entry. An empty Value removes it.
type Mark struct {
	Key   string          // any bytes, at most MaxKey; listings are in their order
	Value json.RawMessage // at most MaxValue
}

// Filter selects entries. The zero value selects all.
type Filter struct {
	ID           string
	Subject      string
	ProjectID    string
	ProviderID   string
	CheckpointID string
	Owner        string
	Kind         string
	Unfinished   bool   // only those that have not ended
	Cancelling   bool   // only those that somebody asked to end
	Limit        int    // 0: none
	Marker       string // id of the last entry of the page before: ErrNotFound if it was pruned, or is not of ProjectID
}

// Owner is one run of a worker.
type Owner struct {
	ID   string // a UUID, new with each run
	Host string // for people
	// Live tells that the announcement holds, by the clock of the database, Retired
	// that the owner has been retired since.
	Live, Retired bool
	// Announced is when, by the same clock. It tells one announcement from the next.
	Announced time.Time
}

// Journal is the contract of all implementations. Methods are safe for
// concurrent use. What a write changed is durable when it returns nil: it
// survives the process, and the machine as far as the database does. Errors
// other than those named are of the store, and nothing is known of the write's
// fate then: every write may be repeated.
//
// Texts that identify something are UTF-8 without NUL of at most MaxText
// bytes, others are refused. Texts for people are cut and cleaned instead.
type Journal interface {
	// Begin adds an entry in state Queued with generation 1. When there is one
	// with the same key, or the same id, it returns that one and false. It
	// fails with *BusyError if another entry forbids it; an empty Subject is
	// in nobody's way.
	Begin(ctx context.Context, e Entry) (Entry, bool, error)
	// Start moves a queued entry to Running; one that is running stays so. It
	// fails with ErrClaim.
	Start(ctx context.Context, id string, c Claim) error
	// Write sets marks, all or none. Writers at the same time share a commit.
	// It fails with ErrClaim.
	Write(ctx context.Context, id string, c Claim, marks ...Mark) error
	// End closes an entry, and puts left in the place of its input, which may hold
	// secrets; marks and left are dropped when it is pruned. Ending it again in the
	// same way by the same claim is no error and changes nothing. It fails with
	// ErrClaim.
	End(ctx context.Context, id string, c Claim, o Outcome, reason string, left json.RawMessage) error
	// Cancel asks the owner to end an entry. The first caller is recorded. It
	// fails with ErrNotFound and ErrEnded.
	Cancel(ctx context.Context, id, by string) error

	// Get returns an entry, ErrNotFound without one.
	Get(ctx context.Context, id string) (*Entry, error)
	// Find returns the entry with an idempotency key, ErrNotFound without one.
	Find(ctx context.Context, key string) (*Entry, error)
	// Marks returns an entry's marks whose keys begin with prefix. An entry
	// that is not there has none.
	Marks(ctx context.Context, id, prefix string) ([]Mark, error)
	// List returns entries without their Input, the newest first.
	List(ctx context.Context, f Filter) ([]Entry, error)

	// Announce makes an owner live from now on for as long as hold. It is
	// repeated in time to go on.
	Announce(ctx context.Context, o Owner, hold time.Duration) error
	// Retire ends an announcement: what the owner has not ended may be adopted
	// at once.
	Retire(ctx context.Context, owner string) error
	// Owners returns the owners that were announced and not pruned.
	Owners(ctx context.Context) ([]Owner, error)
	// Adopt takes over an entry that has not ended, if its claim is still from
	// and that owner is not live or is the same one, in one step: of several
	// that try, one succeeds. It returns the new claim. It fails with ErrClaim
	// and ErrOwnerLives.
	Adopt(ctx context.Context, id string, from Claim, owner string) (Claim, error)

	// Lock takes or renews a named lock for hold, by the clock of the
	// database, and reports whether owner has it now.
	Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error)
	// Unlock gives a lock back if owner has it.
	Unlock(ctx context.Context, name, owner string) error

	// Prune drops entries that ended before a time, with all that belongs to
	// them, and owners that are not live, own nothing and were last announced
	// before it. It returns the number of entries.
	Prune(ctx context.Context, endedBefore time.Time) (int, error)
	// Close waits for writes under way.
	Close() error
}
