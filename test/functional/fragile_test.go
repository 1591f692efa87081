// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/test/functional/history"
)

// all is what KARBOR_TEST_FAILPOINTS asks for every passing of every failpoint
// in every kind of operation and every bank with; else there are a few.
const all = "all"

// TestFailpoints lets a worker die at its failpoints, one after the other, in
// each kind of operation. The next worker must bring the operation to the end
// that it would have had; at the last, that one dies too while it takes over.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	every, kinds, banks := 12, []string{"protect"}, []string{inSwift} // of many points a few
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == all {
		every, kinds, banks = 1, []string{"protect", "restore", "verify", "delete"}, []string{inFolder, inSwift}
	}
	for _, bank := range banks {
		for _, kind := range kinds {
			t.Run(bank+"/"+kind, func(t *testing.T) {
				t.Parallel()
				f := newFragile(t, bank, kind)
				passed := f.watch()
				tried, died := 0, 0
				for _, name := range slices.Sorted(maps.Keys(passed)) {
					for n := 1; n <= passed[name]; n++ {
						if tried++; tried%every != 0 {
							continue
						}
						if f.at(fmt.Sprintf("%s:%d", name, n)) {
							died++
						}
					}
				}
				for _, second := range []string{"journal.adopt.before:1", "journal.adopt.after:1"} {
					f.at("journal.start.after:1", second)
				}
				t.Logf("%s in %s: %d passings of failpoints, died at %d", kind, bank, tried, died)
			})
		}
	}
}

// fragileSite is a trial of one kind of operation.
type fragileSite struct {
	*trial
	kind string
	api  *api
	plan plan
}

func newFragile(t *testing.T, bank, kind string) *fragileSite {
	tr := newTrial(t, bank, image)
	f := &fragileSite{trial: tr, kind: kind, api: tr.caller()}
	f.plan = f.api.plan(tr.provider, tr.user.upload(mib/8))
	return f
}

// prepare makes what the operation works on.
func (f *fragileSite) prepare() (checkpoint string) {
	if f.kind == "protect" {
		return ""
	}
	w := f.begin("worker")
	w.ready()
	checkpoint = f.api.protected(f.plan)
	f.asked(history.Request{Kind: "protect", Plan: f.plan.id, Answered: true, Result: checkpoint})
	w.stop()
	return checkpoint
}

// ask sends the request. Whether it is answered depends on when its worker dies.
func (f *fragileSite) ask(checkpoint string) {
	patient := *f.api
	patient.client = f.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 10 * time.Second })
	r := history.Request{Kind: f.kind, Plan: f.plan.id, Checkpoint: checkpoint}
	var err error
	if f.kind == "protect" {
		err = patient.try("protect", patient.protectArgs(f.plan), &r.Result)
	} else {
		about := map[string]any{"provider_id": f.plan.provider, "checkpoint_id": checkpoint}
		if f.kind == "restore" {
			r.Image = f.restored()
			about["parameters"] = map[string]any{"OS::Glance::Image": map[string]any{"restore_name": r.Image}}
		}
		var record *string
		err = patient.try("execute_operation", map[string]any{"action": f.kind, "backup_plan": about}, &record)
		if record != nil {
			r.Result = *record
		}
	}
	r.Answered = err == nil
	f.asked(r)
}

// hold sets how long a worker that died is taken for alive.
func (f *fragileSite) hold(d time.Duration) {
	f.conf.set("DEFAULT", "operation_owner_hold", fmt.Sprint(int(d.Seconds())))
}

// watch counts the failpoints that an undisturbed operation passes.
func (f *fragileSite) watch() map[string]int {
	f.t.Helper()
	f.hold(patience) // nothing is to happen twice because the machine is slow
	checkpoint := f.prepare()
	began := history.Now()
	w := f.begin("worker")
	w.ready()
	f.ask(checkpoint)
	f.settle()
	w.stop()
	passed := map[string]int{}
	for _, e := range f.events() {
		if e.At > began && e.Phase != "" {
			passed[e.Point()]++
		}
	}
	// A worker announces itself as often as the time that it takes: the first
	// one is before it serves.
	for _, phase := range []history.Phase{history.Before, history.After} {
		passed[history.Event{What: history.Announce, Phase: phase}.Point()] = 1
	}
	f.judge("nobody died")
	f.forget()
	f.hold(4 * time.Second)
	return passed
}

// at lets a worker die at one passing of a failpoint, those after it at theirs,
// and the last one go on.
func (f *fragileSite) at(points ...string) (died bool) {
	f.t.Helper()
	checkpoint := f.prepare()
	first := f.begin("worker", "FRAGILE_AT="+points[0])
	died = !first.readyOrDead()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		f.ask(checkpoint)
	}()
	if !died {
		select {
		case <-first.ended:
			died = true
		case <-f.quiet(answered):
			// It may still come to the point while it stops, or in this moment.
			_ = first.cmd.Process.Signal(syscall.SIGTERM)
			died = first.wait() != 0
		}
	}
	for _, point := range points[1:] {
		f.begin("worker", "FRAGILE_AT="+point).wait()
	}
	last := f.begin("worker")
	last.ready()
	<-answered // by the last worker, or not at all
	for f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '"+f.kind+"'") == 0 {
		f.ask(checkpoint) // the request was too old when a worker could take it again
	}
	f.settle()
	f.rest(last)
	about := fmt.Sprintf("died at %v", points)
	if !died {
		about = fmt.Sprintf("has not come to %v", points)
	}
	f.t.Log(about)
	f.judge(about)
	f.forget()
	return died
}

// quiet is closed when the request was answered and its operation has ended:
// the worker did not come to its failpoint.
func (f *fragileSite) quiet(answered <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-answered
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) {
			var open int
			if f.db.sql.QueryRow("SELECT COUNT(*) FROM protection_operations WHERE state <> 'ended'").Scan(&open) == nil && open == 0 {
				return
			}
			time.Sleep(betweenLooks)
		}
	}()
	return done
}

// settle waits for the end of the operation.
func (f *fragileSite) settle() {
	f.t.Helper()
	await(f.t, "the "+f.kind+" to end", func() (bool, any) {
		n := f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '" + f.kind + "' AND state = 'ended'")
		open := f.unfinished()
		return n > 0 && open == 0, [2]int{n, open}
	})
}
