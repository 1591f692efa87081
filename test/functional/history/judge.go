// SPDX-License-Identifier: Apache-2.0

package history

import "fmt"

// Promise is what the service promises about operations whose workers die.
type Promise string

// The promises.
const (
	// OnceEach: what was accepted is there, once, and nothing is there that
	// nobody has asked for.
	OnceEach Promise = "once each"
	// AllEnd: everything comes to an end, and what was accepted to the end that
	// it would have had without a death.
	AllEnd Promise = "all end"
	// NotAgain: no resource's hook that had finished does its work again.
	NotAgain Promise = "not again"
	// Whole: of an available checkpoint every object is there, and the data have
	// the checksum of their source.
	Whole Promise = "whole"
	// IndicesAgree: there is an index entry where index.json says so, and no
	// other one.
	IndicesAgree Promise = "indices agree"
	// OwnersWrite: nobody writes to the bank or the journal for an operation that
	// has gone to another worker, or without the lease.
	OwnersWrite Promise = "owners write"
	// OneAnswer: all answers to one call are the same.
	OneAnswer Promise = "one answer"
	// NothingLeft: a deleted checkpoint has left what tells that it was there; no
	// image, object, lease, message or row of the journal is without an owner.
	NothingLeft Promise = "nothing left"
	// LogsClosed: each operation has one operation log, which is closed.
	LogsClosed Promise = "logs closed"
	// LegalStatuses: no status follows one that it cannot follow.
	LegalStatuses Promise = "legal statuses"
	// NoSecrets: no token is in a log, a table or the bank.
	NoSecrets Promise = "no secrets"
	// HandedOver: an operation left its worker because that gave it away, not
	// because others took it for dead.
	HandedOver Promise = "handed over"
)

// Finding is a promise that was not kept.
type Finding struct {
	Promise Promise
	Text    string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Promise, f.Text) }

// Case is what the judge decides on.
type Case struct {
	Events   []Event
	Requests []Request
	State    State
}

// judge collects findings.
type judge struct {
	Case
	deeds []*deed
	found []Finding
}

func (j *judge) finds(p Promise, format string, args ...any) {
	j.found = append(j.found, Finding{p, fmt.Sprintf(format, args...)})
}

// Judge returns every promise that was not kept, but for HandedOver, which only
// holds where no worker is killed.
func Judge(c Case) []Finding {
	j := &judge{Case: c, deeds: deedsOf(c.Events)}
	for _, look := range []func(){
		j.onceEach, j.allEnd, j.notAgain, j.whole, j.indicesAgree, j.ownersWrite, j.oneAnswer,
		j.nothingLeft, j.logsClosed, j.legalStatuses, j.noSecrets,
	} {
		look()
	}
	return j.found
}

// JudgeHandover returns each change of hands whose former owner had not retired,
// and the number of changes.
func JudgeHandover(events []Event) (findings []Finding, changes int) {
	j := &judge{deeds: deedsOf(events)}
	retired := map[string]int64{} // when its retirement began
	for _, d := range of(j.deeds, Retire) {
		retired[d.Owner] = d.At
	}
	for _, d := range of(j.deeds, Adopt) {
		if !d.worked() || d.From == d.Owner {
			continue
		}
		changes++
		if at, ok := retired[d.From]; !ok || at > d.ended {
			j.finds(HandedOver, "operation %s was taken from %s, who had not retired", d.Operation, d.From)
		}
	}
	return j.found, changes
}
