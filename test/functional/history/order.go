// SPDX-License-Identifier: Apache-2.0

package history

import (
	"slices"
	"strings"
)

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
