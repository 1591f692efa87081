// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/manager/progress"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Whatever the graph, the kind and the hooks, and wherever processes die or are
// stopped on the way: hooks keep their order, none runs again that is on record
// as done, what they make is made once, everything ends in the verdict that the
// hooks deserve, and nothing happens after that.
func TestOperationSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScenario(rt)
		var wrong []string
		synctest.Test(t, func(*testing.T) { wrong = newWorld(s).play() })
		if len(wrong) > 0 {
			rt.Fatalf("%s\n%+v", strings.Join(wrong, "\n"), *s)
		}
	})
}

// A process is killed, or stopped with and without time for what it is doing, at each
// moment of an operation, whether that succeeds, fails or is cancelled; and at each moment
// bank or database go away for twice as long as a lease lasts.
func TestOperationSurvivesAtAnyMoment(t *testing.T) {
	t.Parallel()
	kinds := []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy}
	ends := []fate{{}, {stops: true}, {stops: true, grace: 7 * time.Millisecond}}
	for _, kind := range kinds {
		for _, way := range []string{"succeeds", "fails", "cancelled"} {
			t.Run(string(kind)+" "+way, func(t *testing.T) {
				t.Parallel()
				r := resource.Resource{Type: resource.Server, ID: "r0", Name: "n"}
				s := scenario{kind: kind, resources: []resource.Resource{r}, sources: 1, workers: 2, acts: map[string]act{}}
				switch way {
				case "fails":
					s.acts[step{"", r.Key(), "on_main"}.String()] = fails
				case "cancelled":
					s.cancelAt = 25
				}
				last, stride := s.survives(t, fate{}), 1
				if testing.Short() {
					stride = 7
				}
				for _, f := range ends {
					for f.at = 1; f.at <= last; f.at++ {
						s.survives(t, f)
					}
				}
				for _, away := range []store{bankWrites, bankAnswers, wholeBank, tables} {
					for at := 1; at <= last; at += stride {
						lasts := []time.Duration{2 * bank.DefaultLeaseWindows().Expire, time.Minute}[at%2]
						s.outage = outage{store: away, at: at, lasts: lasts}
						s.survives(t, fate{})
					}
				}
			})
		}
	}
}

// survives plays the scenario with a first process of that fate, and returns how many
// moments there were.
func (s scenario) survives(t *testing.T, f fate) int {
	t.Helper()
	s.fates = []fate{f}
	var w *world
	synctest.Test(t, func(*testing.T) {
		w = newWorld(&s)
		w.play()
	})
	if len(w.wrong) > 0 {
		t.Fatalf("%+v, %+v: %s", f, s.outage, strings.Join(w.wrong, "\n"))
	}
	return w.passed
}

// The scenario's request, as its caller knows it.
type request struct {
	ids    []string // of the checkpoints that are to change, or to be read
	answer []string
}

const recordID = "record"

func (w *world) ctx() context.Context {
	return requestcontext.New(context.Background(), &requestcontext.RequestContext{ProjectID: project, UserID: "u", RequestID: "req-1"})
}

func (w *world) message() Message {
	return Message{Key: "message", Accepted: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.accepted = true
	}}
}

// play lets one process after the other live until all has ended, and returns
// what was wrong.
func (w *world) play() []string {
	r, err := w.prepare()
	if err != nil {
		return []string{err.Error()}
	}
	for i := 0; ; i++ {
		var f fate
		if i < len(w.scenario.fates) {
			f = w.scenario.fates[i]
		}
		l := w.begin(fmt.Sprintf("process-%d", i), f)
		w.live(l, r)
		if !w.over() && f.at == 0 && len(w.wrong) == 0 {
			w.complain("it did not end")
		}
		if len(w.wrong) > 0 || w.over() {
			time.Sleep(time.Hour) // whoever has something left to do does it now
			l.bury()
			break
		}
		l.bury()
	}
	time.Sleep(time.Hour) // leases of the dead run out
	if len(w.wrong) == 0 {
		w.judge(r)
	}
	return w.wrong
}

// live is one process: it gets the message if that was not acknowledged, and
// what others have left.
func (w *world) live(l *life, r *request) {
	w.mu.Lock()
	accepted := w.accepted
	w.mu.Unlock()
	for !accepted {
		answer, err := l.ask(w.ctx(), r)
		if err != nil && w.scenario.outage.at > 0 && l.tenure.Err() == nil { // the caller asks again
			time.Sleep(time.Minute)
			w.mu.Lock()
			accepted = w.accepted
			w.mu.Unlock()
			continue
		}
		accepted = true
		switch {
		case err == nil && r.answer != nil && !slices.Equal(answer, r.answer):
			w.complain("the answer is %v, and was %v", answer, r.answer)
		case err == nil:
			r.answer = answer
		case l.tenure.Err() == nil && l.fate.at == 0:
			w.complain("the request fails: %v", err)
		}
	}
	l.adopt()
	select {
	case <-l.gone:
	case <-w.closed:
	case <-time.After(24 * time.Hour):
	}
}

// ask delivers the message.
func (l *life) ask(ctx context.Context, r *request) ([]string, error) {
	answer, known, err := l.engine.Answered(ctx, l.world.message())
	if err != nil {
		return nil, err
	}
	s := l.world.scenario
	if known {
		var pairs []Pair
		var id string
		switch {
		case s.kind == protection.Protect && json.Unmarshal(answer, &id) == nil:
			return []string{id}, nil
		case s.kind == protection.Copy && json.Unmarshal(answer, &pairs) == nil:
			return copies(pairs), nil
		}
		return r.ids, nil
	}
	if s.kind == protection.Protect {
		id, err := l.engine.Protect(ctx, l.world.message(), l.provider, s.plan(), nil)
		return []string{id}, err
	}
	var sources []*checkpoint.Checkpoint
	for _, id := range r.ids {
		cp, err := l.provider.Checkpoints.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		sources = append(sources, cp)
	}
	record := Record{ID: recordID, ProjectID: project}
	switch s.kind {
	case protection.Restore:
		return r.ids, l.engine.Restore(ctx, l.world.message(), l.provider, sources[0], record)
	case protection.Verify:
		return r.ids, l.engine.Verify(ctx, l.world.message(), l.provider, sources[0], record)
	case protection.Delete:
		return r.ids, l.engine.Delete(ctx, l.world.message(), l.provider, sources[0])
	}
	pairs, err := l.engine.Copy(ctx, l.world.message(), l.provider, s.plan(), sources)
	return copies(pairs), err
}

func (s *scenario) plan() Plan { return planOf(s.resources...) }

func copies(pairs []Pair) []string {
	var ids []string
	for _, p := range pairs {
		ids = append(ids, p.Copy)
	}
	return ids
}

// prepare makes what the request is about.
func (w *world) prepare() (*request, error) {
	r := &request{}
	w.records.restores[recordID] = database.Record{ID: recordID}
	if w.scenario.kind == protection.Protect {
		return r, nil
	}
	graph, _, err := w.scenario.cloud().Graph(context.Background(), w.scenario.resources, nil)
	if err != nil {
		return nil, err
	}
	packed, err := resource.Pack(graph)
	if err != nil {
		return nil, err
	}
	for range w.scenario.sources {
		cp, err := w.checkpoints().Create(context.Background(), checkpoint.CreateOptions{
			Plan: w.scenario.plan().stored(), Status: checkpoint.Available, ResourceGraph: packed})
		if err != nil {
			return nil, err
		}
		for _, res := range w.scenario.resources {
			section, err := cp.Section(res.ID)
			if err != nil {
				return nil, err
			}
			if err := section.PutText(context.Background(), dataKey, "x"); err != nil {
				return nil, err
			}
		}
		r.ids = append(r.ids, cp.ID())
	}
	return r, nil
}

// checkpoints are those of the bank, seen by nobody who could die.
func (w *world) checkpoints() *checkpoint.Collection {
	return checkpoint.NewCollection(bank.New(w.bank, nil), "provider", checkpoint.Options{})
}

// judge looks at what is there in the end.
func (w *world) judge(r *request) {
	entries, err := w.journal.List(context.Background(), journal.Filter{})
	if err != nil || len(entries) != w.scenario.sources {
		w.complain("%d entries in the journal, %v", len(entries), err)
	}
	refused := func(e journal.Entry) bool { return w.refused(&e) }
	if len(w.records.logs) != len(entries) && !slices.ContainsFunc(entries, refused) {
		w.complain("%d operation logs, want %d", len(w.records.logs), len(entries))
	}
	var ids []string
	for i := range entries {
		w.judgeEntry(&entries[i])
		ids = append(ids, entries[i].CheckpointID)
	}
	slices.Sort(ids)
	answer := slices.Sorted(slices.Values(r.answer))
	if r.answer != nil && !slices.Equal(ids, answer) {
		w.complain("the answer was %v, the operations are on %v", answer, ids)
	}
	if held := w.leases.held(); len(held) > 0 {
		w.complain("leases are left: %v", held)
	}
	for s, h := range w.hooks {
		if h.running > 0 {
			w.complain("%s runs", s)
		}
	}
}

// judgeRefused looks at an operation that could not be opened: nothing that it may have
// left is unfinished.
func (w *world) judgeRefused(e *journal.Entry) {
	if row, ok := w.records.logs[e.ID]; ok && row.EndedAt.IsZero() {
		w.complain("the operation log of what was refused is open: %+v", row)
	}
	cp, err := w.checkpoints().Get(context.Background(), e.CheckpointID)
	if err == nil && cp.Status().Unfinished() {
		w.complain("the checkpoint of what was refused is %s", cp.Status())
	}
	if n := len(w.bank.Below("/indices/")); err == nil && cp.Status() != checkpoint.Deleted && n == 0 {
		w.complain("no listing shows the checkpoint of what was refused, which is %s", cp.Status())
	}
	if row := w.records.restores[recordID]; (w.scenario.kind == protection.Restore || w.scenario.kind == protection.Verify) && row.Status != "fail" {
		w.complain("the record of what was refused is %s", row.Status)
	}
}

// refused reports whether the caller was told that the operation cannot be opened.
func (w *world) refused(e *journal.Entry) bool {
	marks, err := w.journal.Marks(context.Background(), e.ID, outcomeMark)
	if err != nil {
		w.complain("%v", err)
	}
	var o outcome
	return len(marks) > 0 && json.Unmarshal(marks[0].Value, &o) == nil && o.Refused != ""
}

// judgeEntry looks at one operation: whether its verdict is that which its hooks
// deserve, and whether everything agrees with it.
func (w *world) judgeEntry(e *journal.Entry) {
	s := w.scenario
	if s.outage.at > 0 && w.refused(e) {
		w.judgeRefused(e)
		return
	}
	switch e.Outcome {
	case journal.Succeeded:
		if s.mayFail() {
			w.complain("it succeeded, though %v", s.acts)
		}
		for _, res := range s.resources {
			for _, hook := range hookNames {
				if st := (step{e.CheckpointID, res.Key(), hook}); !w.history(st).recorded {
					w.complain("it succeeded without %s", st)
				}
			}
		}
	case journal.Cancelled:
		if !w.cancelled || e.CancelledBy != "alice" || !strings.HasPrefix(e.Reason, "cancelled by alice") {
			w.complain("it was cancelled by %q: %s", e.CancelledBy, e.Reason)
		}
	case journal.Failed:
		if !(s.outage.at > 0 && s.outage.store != tables) && !slices.ContainsFunc(w.failing(e.CheckpointID), func(st step) bool { return strings.Contains(e.Reason, st.String()) }) {
			w.complain("it failed for %q, want one of %v", e.Reason, s.acts)
		}
	default:
		w.complain("outcome %q", e.Outcome)
	}
	good := e.Outcome == journal.Succeeded
	if w.told[e.ID] && !good {
		w.complain("users were told that it succeeded, and it was %s", e.Outcome)
	}
	row := w.records.logs[e.ID]
	want := map[protection.Kind][2]string{
		protection.Protect: {"error", "available"}, protection.Copy: {"error", "available"}, protection.Delete: {"error-deleting", "deleted"},
		protection.Restore: {"fail", "success"}, protection.Verify: {"fail", "success"},
	}[s.kind][map[bool]int{true: 1}[good]]
	if row.Status != want || row.EndedAt.IsZero() || good != (row.ErrorInfo == "") || !strings.HasPrefix(row.ErrorInfo, e.Reason) {
		w.complain("operation log %s %q %s, want %s (%s)", row.Status, row.ErrorInfo, row.EndedAt, want, e.Reason)
	}
	status := w.statusOf(e.CheckpointID)
	switch s.kind {
	case protection.Restore, protection.Verify:
		record := w.records.restores[recordID]
		if record.Status != want {
			w.complain("the record is %s, want %s", record.Status, want)
		}
		for key, status := range record.ResourcesStatus {
			if status != "available" && (good || status != "error" || record.ResourcesReason[key] == "") {
				w.complain("in the record %s is %s (%s) in the end", key, status, record.ResourcesReason[key])
			}
		}
		if status != checkpoint.Available {
			w.complain("the checkpoint that was read is %s", status)
		}
	default:
		if string(status) != want {
			w.complain("the checkpoint is %s, want %s", status, want)
		}
	}
	w.judgeData(e)
	if good {
		w.judgeRemarks(e)
	}
}

// judgeRemarks finds a remark of each hook in an operation that succeeded, and in the
// checkpoint that it has made.
func (w *world) judgeRemarks(e *journal.Entry) {
	marks, err := w.journal.Marks(context.Background(), e.ID, progress.RemarkMarks)
	if err != nil {
		w.complain("%v", err)
		return
	}
	said, err := progress.ReadRemarks(marks)
	if want := len(w.scenario.resources) * len(hookNames); err != nil || len(said.Remarks) != want {
		w.complain("%d remarks are on record, want %d: %v", len(said.Remarks), want, err)
	}
	if kind := w.scenario.kind; kind != protection.Protect && kind != protection.Copy {
		return
	}
	cp, err := w.checkpoints().Get(context.Background(), e.CheckpointID)
	if err != nil {
		w.complain("%v", err)
		return
	}
	if stored, err := cp.Remarks(context.Background()); err != nil || !cmp.Equal(said, stored) {
		w.complain("the remarks of the checkpoint: %v (-recorded +stored):\n%s", err, cmp.Diff(said, stored))
	}
}

// failing are the hooks that fail and were reached.
func (w *world) failing(id string) []step {
	var list []step
	for s := range w.hooks {
		if s.checkpoint == id && w.scenario.acts[s.String()] != "" {
			list = append(list, s)
		}
	}
	return list
}

func (w *world) statusOf(id string) checkpoint.Status {
	cp, err := w.checkpoints().Get(context.Background(), id)
	if err != nil {
		w.complain("%v", err)
		return ""
	}
	return cp.Status()
}

// judgeData looks at what is in the bank.
func (w *world) judgeData(e *journal.Entry) {
	data := w.bank.Below("/checkpoints/" + e.CheckpointID + "/resource-data/")
	all := len(data) == len(w.scenario.resources)
	switch kind := w.scenario.kind; {
	case kind == protection.Delete:
		if left := w.bank.Below("/indices/"); e.Outcome == journal.Succeeded && len(data)+len(left) > 0 {
			w.complain("after the deletion there are %v, %v", data, left)
		}
	case kind == protection.Restore || kind == protection.Verify || e.Outcome == journal.Succeeded:
		if !all {
			w.complain("the backup has %v", data)
		}
	case e.Outcome == journal.Cancelled && len(data) > 0 && !(strings.Contains(e.Reason, notRemoved) && w.scenario.outage.lasts > undoTolerance):
		w.complain("a cancelled %s has left %v", kind, data)
	}
}
