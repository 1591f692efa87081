// SPDX-License-Identifier: Apache-2.0

package history

import (
	"strings"
)

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
	gone, undone, lost := map[string]bool{}, map[string]bool{}, map[string]bool{} // checkpoints, the latter two by cancels
	records := map[string]bool{}                                                  // of restores and verifications that were cancelled
	for _, o := range j.State.operations() {
		if !o.Ended {
			j.finds(AllEnd, "%s %s of checkpoint %s has not ended", o.Kind, o.ID, o.Checkpoint)
			continue
		}
		succeeded, cancelled := o.Outcome == "succeeded", o.Outcome == "cancelled"
		switch {
		case cancelled && makes(o.Kind):
			undone[o.Checkpoint] = true
		case cancelled && o.Kind == "delete":
			lost[o.Checkpoint] = true
		case cancelled:
			records[o.Record] = true
		case succeeded && o.Kind == "delete":
			gone[o.Checkpoint] = true
		}
		accepted := makes(o.Kind) || byResult[o.Record] && (o.Kind == "restore" || o.Kind == "verify")
		wanted := succeeded || cancelled && o.CancelledBy != ""
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
		if outcome := outcomes[r.Result]; r.Cancelled && r.Answered && outcome != "cancelled" {
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
