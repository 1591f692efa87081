// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"slices"
	"strings"
)

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
	// MayFail tells that operations may have failed, because something that they
	// need was away. Everything must tell of that alike.
	MayFail bool
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

// ownersWrite follows who has which operation, and looks for writes of others.
func (j *judge) ownersWrite() {
	checkpoints, kinds := map[string]string{}, map[string]string{}
	for _, d := range of(j.deeds, Begin) {
		if d.Fresh {
			checkpoints[d.Operation], kinds[d.Operation] = d.Checkpoint, d.Kind
		}
	}
	// A worker has an operation from the end of the deed that gave it, which one
	// that was stopped within the deed writes down late: the generation tells who has
	// it. Restores and verifications write to no bank and share a checkpoint.
	type possession struct {
		process    string
		operation  string
		generation int64
		since      int64
	}
	byCheckpoint, byOperation := map[string][]possession{}, map[string][]possession{}
	for _, d := range of(j.deeds, Begin, Adopt) {
		if !d.worked() || d.What == Begin && !d.Fresh {
			continue
		}
		p := possession{d.Process, d.Operation, d.Generation, d.ended}
		byOperation[d.Operation] = append(byOperation[d.Operation], p)
		if kind := kinds[d.Operation]; kind == "protect" || kind == "delete" || kind == "copy" {
			byCheckpoint[checkpoints[d.Operation]] = append(byCheckpoint[checkpoints[d.Operation]], p)
		}
	}
	strange := func(list []possession, d *deed) bool {
		owners, ever := map[string]possession{}, false // by operation
		for _, p := range list {
			if p.since >= d.At {
				continue
			}
			ever = ever || p.process == d.Process
			if o, there := owners[p.operation]; !there || p.generation > o.generation || p.generation == o.generation && p.since > o.since {
				owners[p.operation] = p
			}
		}
		last := possession{process: d.Process}
		for _, p := range owners {
			if p.since > last.since {
				last = p
			}
		}
		return ever && last.process != d.Process
	}
	for _, d := range of(j.deeds, Put, Delete) {
		if !d.worked() {
			continue
		}
		if strange(byCheckpoint[ofCheckpoint(d.Key)], d) {
			j.finds(OwnersWrite, "%s %s by %s, after another worker had taken its operation", d.What, d.Key, d.Process)
		}
		if d.LeaseLost {
			j.finds(OwnersWrite, "%s %s by %s without the lease", d.What, d.Key, d.Process)
		}
	}
	for _, d := range of(j.deeds, Start, Write, End) {
		if d.worked() && strange(byOperation[d.Operation], d) {
			j.finds(OwnersWrite, "%s of %s by %s, after another worker had taken it", d.What, d.Operation, d.Process)
		}
	}
}

// oneAnswer compares the answers to each call. A process answers it once; another
// one may answer again when the first died between the answer and the
// acknowledgement, and its caller takes one.
func (j *judge) oneAnswer() {
	answers := map[string]string{}
	type answerer struct{ process, call string }
	given := map[answerer]bool{}
	for _, d := range of(j.deeds, Reply) {
		if d.Key == "" { // a sign of life
			continue
		}
		if before, ok := answers[d.Key]; ok && before != d.Status {
			j.finds(OneAnswer, "call %s was answered in two ways", d.Key)
		}
		by := answerer{d.Process, d.Key}
		if given[by] {
			j.finds(OneAnswer, "call %s was answered twice by %s", d.Key, d.Process)
		}
		given[by] = true
		answers[d.Key] = d.Status
	}
}

// follows lists the statuses that a status may lead to, itself aside.
var follows = map[string][]string{
	"":               {"protecting", "wait_copying"},
	"protecting":     {"available", "error", "deleting"},
	"wait_copying":   {"copying", "error", "deleting"},
	"copying":        {"available", "error", "deleting"},
	"available":      {"deleting", "error"},
	"error":          {"deleting", "available"},
	"deleting":       {"deleted", "error-deleting", "available", "error"},
	"error-deleting": {"deleting", "available", "error"},
	"in_progress":    {"success", "fail"},
}

// legalStatuses follows the statuses of checkpoints, records and operation logs.
// A write of unknown fate leaves two possible statuses.
func (j *judge) legalStatuses() {
	possible := map[string][]string{}
	for _, d := range of(j.deeds, Put, CreateRecord, UpdateRecord) {
		if d.Status == "" {
			continue
		}
		before, known := possible[d.Key]
		if !known {
			before = []string{""}
			if d.What != Put {
				before = []string{"in_progress"} // as karbor-api makes them, too
			}
		}
		legal := slices.ContainsFunc(before, func(b string) bool { return b == d.Status || slices.Contains(follows[b], d.Status) })
		if !legal && d.mayHaveWorked() {
			j.finds(LegalStatuses, "%s became %s, after %s", d.Key, d.Status, strings.Join(before, " or "))
		}
		if d.worked() {
			before = nil
		}
		possible[d.Key] = append(slices.Clone(before), d.Status)
	}
	ended := map[string]string{}
	for _, d := range of(j.deeds, End) {
		if last, ok := ended[d.Operation]; ok && d.worked() && d.Status != last {
			j.finds(LegalStatuses, "operation %s ended as %s, after it had ended as %s", d.Operation, d.Status, last)
		}
		if d.worked() {
			ended[d.Operation] = d.Status
		}
	}
	closed := map[string]string{}
	for _, d := range of(j.deeds, UpdateLog) {
		if !d.mayHaveWorked() {
			continue
		}
		if last, ok := closed[d.Operation]; ok && d.Status != "" && d.Status != last {
			j.finds(LegalStatuses, "operation log %s became %s, after it was closed as %s", d.Operation, d.Status, last)
		}
		if d.Closed {
			closed[d.Operation] = d.Status
		}
	}
}

// makes reports whether operations of a kind make checkpoints.
func makes(kind string) bool { return kind == "protect" || kind == "copy" }

// onceEach compares what was asked for with the operations that are there.
func (j *judge) onceEach() {
	type subject struct{ kind, of string }
	asked, answered := map[subject]int{}, map[subject]int{}
	of := func(kind, plan, checkpoint string) subject {
		if makes(kind) {
			return subject{kind, plan}
		}
		return subject{kind, checkpoint}
	}
	there := map[subject]int{}
	byResult := map[string]int{}
	for _, o := range j.State.operations() {
		there[of(o.Kind, o.Plan, o.Checkpoint)]++
		switch o.Kind {
		case "protect", "copy":
			byResult[o.Checkpoint]++
		case "restore", "verify":
			byResult[o.Record]++
		}
	}
	for _, r := range j.Requests {
		s := of(r.Kind, r.Plan, r.Checkpoint)
		asked[s]++
		if !r.Answered {
			continue
		}
		answered[s]++
		if r.Kind != "delete" && byResult[r.Result] != 1 {
			j.finds(OnceEach, "the %s that was answered with %s has %d operations, want 1", r.Kind, r.Result, byResult[r.Result])
		}
	}
	for s, n := range there {
		if n > asked[s] {
			j.finds(OnceEach, "%d operations %s of %s are there, %d were asked for", n, s.kind, s.of, asked[s])
		}
	}
	for s, n := range answered {
		if there[s] < n {
			j.finds(OnceEach, "%d operations %s of %s were accepted, %d are there", n, s.kind, s.of, there[s])
		}
	}
	records := map[string]int{}
	for _, r := range j.State.Records {
		records[r.ID]++
	}
	for _, o := range j.State.operations() {
		if (o.Kind == "restore" || o.Kind == "verify") && o.Outcome == "succeeded" && records[o.Record] != 1 {
			j.finds(OnceEach, "%s %s has %d records, want 1", o.Kind, o.ID, records[o.Record])
		}
	}
}

// allEnd looks for what is still at work, or has ended otherwise than it should.
func (j *judge) allEnd() {
	byResult, deleted := map[string]bool{}, map[string]bool{}
	for _, r := range j.Requests {
		if r.Answered && r.Kind == "delete" {
			deleted[r.Checkpoint] = true
		} else if r.Answered {
			byResult[r.Result] = true
		}
	}
	gone, undone, lost := map[string]bool{}, map[string]bool{}, map[string]bool{} // checkpoints, the latter two by cancels and failures
	records := map[string]bool{}                                                  // of restores and verifications that did not succeed
	for _, o := range j.State.operations() {
		if !o.Ended {
			j.finds(AllEnd, "%s %s of checkpoint %s has not ended", o.Kind, o.ID, o.Checkpoint)
			continue
		}
		succeeded, failed := o.Outcome == "succeeded", j.MayFail && o.Outcome == "failed"
		cancelled := o.Outcome == "cancelled"
		switch {
		case (cancelled || failed) && makes(o.Kind):
			undone[o.Checkpoint] = true
		case (cancelled || failed) && o.Kind == "delete":
			lost[o.Checkpoint] = true
		case cancelled || failed:
			records[o.Record] = true
		case succeeded && o.Kind == "delete":
			gone[o.Checkpoint] = true
		}
		accepted := makes(o.Kind) || byResult[o.Record] && (o.Kind == "restore" || o.Kind == "verify")
		wanted := succeeded || failed || cancelled && o.CancelledBy != ""
		if !wanted && (accepted || cancelled) {
			j.finds(AllEnd, "%s %s of checkpoint %s has %s", o.Kind, o.ID, o.Checkpoint, o.Outcome)
		}
	}
	j.cancels()
	checkpoints, _ := j.State.checkpoints()
	for _, c := range checkpoints {
		switch {
		case gone[c.ID] || deleted[c.ID] && !lost[c.ID]:
			if c.Status != "deleted" {
				j.finds(AllEnd, "checkpoint %s is %s, its deletion was accepted", c.ID, c.Status)
			}
		case undone[c.ID]:
			if c.Status != "error" {
				j.finds(AllEnd, "checkpoint %s is %s, and was never finished", c.ID, c.Status)
			}
		case lost[c.ID] && c.Status == "error-deleting":
		case c.Status != "available":
			j.finds(AllEnd, "checkpoint %s is %s, want available", c.ID, c.Status)
		}
	}
	for _, r := range j.State.Records {
		want := "success"
		if records[r.ID] {
			want = "fail"
		}
		if r.Status != want && (r.Status != "fail" || byResult[r.ID]) {
			j.finds(AllEnd, "%s %s is %s, want %s", r.Kind, r.ID, r.Status, want)
		}
	}
	for name, n := range j.State.Queues {
		if n != 0 {
			j.finds(AllEnd, "%d messages wait in queue %s", n, name)
		}
	}
}

// cancels compares the requests to end operations with what has become of these.
// Such a request comes while the operation waits, so that it is never too late.
func (j *judge) cancels() {
	outcomes := map[string]string{} // by the result of the request
	for _, o := range j.State.operations() {
		if makes(o.Kind) {
			outcomes[o.Checkpoint] = o.Outcome
		} else if o.Record != "" {
			outcomes[o.Record] = o.Outcome
		}
	}
	for _, r := range j.Requests {
		outcome := outcomes[r.Result]
		if r.Cancelled && r.Answered && outcome != "cancelled" && !(j.MayFail && outcome == "failed") {
			j.finds(AllEnd, "the %s that was answered with %s has %s, its end was asked for", r.Kind, r.Result, outcome)
		}
	}
}

// notAgain looks for data that are written after the journal knew that this had
// been done.
func (j *judge) notAgain() {
	checkpoints := map[string]string{} // by operation
	for _, d := range of(j.deeds, Begin) {
		if makes(d.Kind) {
			checkpoints[d.Operation] = d.Checkpoint
		}
	}
	finished := map[string]int64{} // by the beginning of the keys
	for _, d := range of(j.deeds, Write) {
		for _, done := range d.Done {
			resource, hook, _ := strings.Cut(done, " ")
			section := "/checkpoints/" + checkpoints[d.Operation] + "/resource-data/" + resource + "/"
			if _, ok := finished[section]; !ok && hook == "on_main" && d.worked() {
				finished[section] = d.ended
			}
		}
	}
	for _, d := range of(j.deeds, Put) {
		at := strings.LastIndex(d.Key, "/") + 1
		if since, ok := finished[d.Key[:at]]; ok && d.At > since && d.worked() && strings.HasPrefix(d.Key[at:], "data_") {
			j.finds(NotAgain, "%s was written again by %s", d.Key, d.Process)
		}
	}
}

// logsClosed looks at the operation logs.
func (j *judge) logsClosed() {
	logs := map[string][]Log{}
	for _, l := range j.State.Logs {
		logs[l.ID] = append(logs[l.ID], l)
		if !l.Closed {
			j.finds(LogsClosed, "operation log %s, %s, is open", l.ID, l.Status)
		}
		switch l.Status {
		case "protecting", "deleting", "wait_copying", "copying", "in_progress", "":
			j.finds(LogsClosed, "operation log %s says %q in the end", l.ID, l.Status)
		}
	}
	for _, o := range j.State.operations() {
		// One that was refused may have none.
		if n := len(logs[o.ID]); n != 1 && (n > 1 || o.Outcome != "failed") {
			j.finds(LogsClosed, "%s %s has %d operation logs, want 1", o.Kind, o.ID, n)
		}
		delete(logs, o.ID)
	}
	for id := range logs {
		j.finds(LogsClosed, "operation log %s has no operation", id)
	}
}
