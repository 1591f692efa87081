// SPDX-License-Identifier: Apache-2.0

// Package journal stores the state that lets running operations survive their process:
// the owner, the request and the progress of each. It does not know checkpoints or
// plugins: inputs, answers and marks are documents of its callers.
//
// An entry is owned by one worker at a time. A claim, which consists of the owner's id
// and a generation that grows with each change of owner, guards every write: a worker
// that was taken for dead and wakes up again can write nothing more. Workers announce
// themselves for a limited time by the clock of the database, so the clocks of the
// machines need not agree.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrNotFound reports an entry that does not exist or was pruned.
	ErrNotFound = errors.New("journal has no such operation")
	// ErrClaim reports that another worker owns the entry by now, or that the entry has
	// ended.
	ErrClaim = errors.New("the operation belongs to another worker, or has ended")
	// ErrOwnerLives reports an attempt to adopt from an owner whose announcement is
	// still valid.
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

// State is the progress of an entry.
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

	// Attributes that listings select and show; any may be empty.
	ProviderID   string
	CheckpointID string
	PlanID       string
	ProjectID    string
	RecordID     string // of the restore or verification

	// Input is what the operation starts from, at most 16 MiB. It does not change until
	// End replaces it. The caller seals any secrets in it.
	Input json.RawMessage

	Claim
	State       State
	Outcome     Outcome
	Reason      string // why it failed or was cancelled
	CancelledBy string // who asked for its end, empty if nobody did

	// Times are in UTC with microseconds, by the clock of the process. Zero means not
	// yet. Begin sets CreatedAt if the caller did not.
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
	// Live reports whether the announcement is valid by the clock of the database,
	// Retired whether the owner has been retired since.
	Live, Retired bool
	// Announced is the time of the announcement by the same clock. It distinguishes
	// announcements.
	Announced time.Time
}

// Journal is the contract of all implementations. Methods are safe for concurrent use.
// When a write returns nil, its changes are durable: they survive the process, and the
// machine as far as the database does. Errors other than the named ones come from the
// store, and the write may or may not have happened: every write may be repeated.
//
// Texts that identify something are UTF-8 without NUL of at most MaxText bytes; other
// texts are refused. Texts for people are cut and cleaned instead.
type Journal interface {
	// Begin adds an entry in state Queued with generation 1. If an entry has the same
	// key or the same id, Begin returns that entry and false. It fails with *BusyError
	// if another entry forbids the new one; an entry with an empty Subject never
	// conflicts.
	Begin(ctx context.Context, e Entry) (Entry, bool, error)
	// Start moves a queued entry to Running; a running entry stays so. It fails with
	// ErrClaim.
	Start(ctx context.Context, id string, c Claim) error
	// Write sets marks, all or none. Concurrent writes share a commit. It fails with
	// ErrClaim.
	Write(ctx context.Context, id string, c Claim, marks ...Mark) error
	// End closes an entry and replaces its input, which may hold secrets, by left;
	// pruning drops marks and left. Ending an entry again in the same way with the same
	// claim succeeds and changes nothing. It fails with ErrClaim.
	End(ctx context.Context, id string, c Claim, o Outcome, reason string, left json.RawMessage) error
	// Cancel asks the owner to end an entry. The first caller is recorded. It
	// fails with ErrNotFound and ErrEnded.
	Cancel(ctx context.Context, id, by string) error

	// Get returns an entry, ErrNotFound without one.
	Get(ctx context.Context, id string) (*Entry, error)
	// Find returns the entry with an idempotency key, ErrNotFound without one.
	Find(ctx context.Context, key string) (*Entry, error)
	// Marks returns an entry's marks whose keys begin with prefix. It returns none for
	// an entry that does not exist.
	Marks(ctx context.Context, id, prefix string) ([]Mark, error)
	// List returns entries without their Input, the newest first.
	List(ctx context.Context, f Filter) ([]Entry, error)

	// Announce makes an owner live for the duration hold from now. The owner repeats it
	// in time to stay live.
	Announce(ctx context.Context, o Owner, hold time.Duration) error
	// Retire ends an announcement: other workers may adopt the owner's unfinished
	// entries at once.
	Retire(ctx context.Context, owner string) error
	// Owners returns the owners that were announced and not pruned.
	Owners(ctx context.Context) ([]Owner, error)
	// Adopt takes over an unfinished entry if its claim is still from and that owner is
	// either not live or the adopter itself. It is atomic: of several concurrent
	// adopters, one succeeds. It returns the new claim. It fails with ErrClaim and
	// ErrOwnerLives.
	Adopt(ctx context.Context, id string, from Claim, owner string) (Claim, error)

	// Lock takes or renews a named lock for hold, by the clock of the database, and
	// reports whether owner now has the lock.
	Lock(ctx context.Context, name, owner string, hold time.Duration) (bool, error)
	// Unlock releases a lock if owner holds it.
	Unlock(ctx context.Context, name, owner string) error

	// Prune drops entries that ended before a time, with their marks, and owners that
	// are not live, own nothing and were last announced before that time. It returns
	// the number of entries.
	Prune(ctx context.Context, endedBefore time.Time) (int, error)
	// Close waits for running writes.
	Close() error
}
