// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"maps"
	"net/http"
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

// fragileKind is a kind of operation, and whether it is cancelled in the midst.
type fragileKind struct {
	name      string
	cancelled bool
}

func (k fragileKind) String() string {
	if k.cancelled {
		return k.name + ", cancelled"
	}
	return k.name
}

var fragileKinds = []fragileKind{
	{"protect", false}, {"restore", false}, {"verify", false}, {"delete", false}, {"copy", false},
	{"protect", true}, {"restore", true},
}

// TestFailpoints lets a worker die at its failpoints, one after the other, in
// each kind of operation. The next worker must bring the operation to the end
// that it would have had; at the last, that one dies too while it takes over. Of
// an operation that is cancelled, these are the failpoints from the cancel on.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	var every map[fragileKind]int // of how many points one
	banks := []string{inFolder, inSwift}
	seen := &deaths{}
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == all {
		every = map[fragileKind]int{}
		for _, kind := range fragileKinds {
			every[kind] = 1
		}
		t.Cleanup(func() { seen.report(t) }) // when all kinds have had their turn
	} else {
		banks, every = []string{inSwift}, map[fragileKind]int{{"protect", false}: 12, {"protect", true}: 15}
	}
	for _, bank := range banks {
		for _, kind := range fragileKinds {
			if every[kind] == 0 {
				continue
			}
			t.Run(bank+"/"+kind.String(), func(t *testing.T) {
				t.Parallel()
				f := newFragile(t, bank, kind)
				earlier, passed := f.watch()
				tried, died := 0, 0
				for _, name := range slices.Sorted(maps.Keys(passed)) {
					for n := earlier[name] + 1; n <= passed[name]; n++ {
						if tried++; tried%every[kind] != 0 {
							continue
						}
						if f.reach(fmt.Sprintf("%s:%d", name, n)) {
							died++
							seen.add(bank, kind, name)
						}
					}
				}
				if !kind.cancelled {
					for _, second := range []string{"journal.adopt.before", "journal.adopt.after"} {
						if f.at("journal.start.after:1", second+":1") {
							seen.add(bank, kind, second)
						}
					}
				}
				seen.finished(bank, kind)
				t.Logf("%s in %s: %d passings of failpoints, died at %d", kind, bank, tried, died)
			})
		}
	}
}

// fragileSite is a trial of one kind of operation.
type fragileSite struct {
	*trial
	kind fragileKind
	api  *api
	// Of an operation that is cancelled; else nil and 0.
	gate     *gate
	cancelAt int64 // when its end was asked for, by the clock of the history
	plan     plan
}

func newFragile(t *testing.T, bank string, kind fragileKind) *fragileSite {
	tr := newTrial(t, bank, image)
	f := &fragileSite{trial: tr, kind: kind, api: tr.caller()}
	if kind.cancelled {
		f.gate = tr.useGate(tr.user)
	}
	f.plan = f.api.plan(tr.provider, tr.user.upload(mib/8))
	return f
}

// prepare makes what the operation works on, by a worker that no load makes late.
func (f *fragileSite) prepare() (checkpoint string) {
	if f.kind.name == "protect" {
		return ""
	}
	defer f.unhurried()()
	w := f.begin("worker")
	w.ready()
	checkpoint = f.api.protected(f.plan)
	f.asked(history.Request{Kind: "protect", Plan: f.plan.id, Answered: true, Result: checkpoint})
	w.stop()
	return checkpoint
}

// patient is a caller who does not wait for ever for a worker that has died.
func (f *fragileSite) patient() *api {
	patient := *f.api
	patient.client = f.api.client.With(func(o *rpc.ClientOptions) { o.Timeout = 10 * time.Second })
	return &patient
}

// ask sends the request. Whether it is answered depends on when its worker dies.
func (f *fragileSite) ask(checkpoint string) {
	patient := f.patient()
	r := history.Request{Kind: f.kind.name, Plan: f.plan.id, Checkpoint: checkpoint, Cancelled: f.kind.cancelled}
	about := map[string]any{"provider_id": f.plan.provider, "checkpoint_id": checkpoint}
	execute := func(result any) error {
		return patient.try("execute_operation", map[string]any{"action": r.Kind, "backup_plan": about}, result)
	}
	var err error
	switch r.Kind {
	case "protect":
		err = patient.try("protect", patient.protectArgs(f.plan), &r.Result)
	case "copy":
		var pairs []struct {
			Copy string `json:"checkpoint_copy_id"`
		}
		err = patient.try("copy", map[string]any{"plan": patient.protectArgs(f.plan)["plan"]}, &pairs)
		if len(pairs) == 1 {
			r.Result = pairs[0].Copy
		}
	case "restore":
		r.Image = fmt.Sprintf("%s-%d", f.restored(), len(f.requests))
		about["parameters"] = map[string]any{"OS::Glance::Image": map[string]any{"restore_name": r.Image}}
		err = execute(&r.Result)
	case "verify":
		err = execute(&r.Result)
	default:
		err = execute(nil)
	}
	r.Answered = err == nil
	f.asked(r)
}

// operate asks for the operation and, where it is to be cancelled, for its end
// when its data are held at the gate. It goes no further when the worker has
// ended.
func (f *fragileSite) operate(checkpoint string, ended <-chan struct{}) {
	if f.gate == nil {
		f.ask(checkpoint)
		return
	}
	f.gate.shutFor(map[string]string{"protect": http.MethodGet, "restore": http.MethodPut}[f.kind.name])
	f.ask(checkpoint)
	select {
	case <-f.gate.held:
		f.cancelAt = history.Now()
		f.cancel()
	case <-ended:
	}
}

// cancel asks for the end of the operation, and returns when that was asked for.
func (f *fragileSite) cancel() {
	var id string
	if f.db.sql.QueryRow("SELECT id FROM protection_operations WHERE kind = ? AND state <> 'ended'", f.kind.name).Scan(&id) == nil {
		_ = f.patient().try("cancel_operation", map[string]any{"operation_id": id}, nil) // or the worker died
	}
}

// insist cancels again an operation whose cancel its worker did not live to
// write down.
func (f *fragileSite) insist() {
	f.t.Helper()
	if f.gate == nil {
		return
	}
	await(f.t, "the cancel to be on record", func() (bool, any) {
		n := f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '" + f.kind.name + "' AND cancelled_by = ''")
		if n > 0 {
			f.cancel()
		}
		return n == 0, n
	})
}

// pass opens the gate, and forgets what was held.
func (f *fragileSite) pass() {
	if f.gate == nil {
		return
	}
	f.gate.open()
	for {
		select {
		case <-f.gate.held:
		default:
			return
		}
	}
}

// unhurried gives the next worker so much time for its hold and its lease that a busy machine
// does not make it late. The function that it returns takes that back.
func (f *fragileSite) unhurried() (undo func()) {
	const section, option = "swift_bank_plugin", "lease_expire_window"
	hold := f.conf["DEFAULT"]["operation_owner_hold"]
	lease, isShort := f.bank.conf[section][option]
	set := func(hold, lease string) {
		f.conf.set("DEFAULT", "operation_owner_hold", hold)
		if isShort {
			f.bank.conf.set(section, option, lease)
			f.writeProvider(f.bank)
		}
	}
	long := fmt.Sprint(int(patience.Seconds()))
	set(long, long)
	return func() { set(hold, lease) }
}

// hold sets how long a worker that died is taken for alive.
func (f *fragileSite) hold(d time.Duration) {
	f.conf.set("DEFAULT", "operation_owner_hold", fmt.Sprint(int(d.Seconds())))
}

// watch counts the failpoints that an undisturbed operation passes, and those of
// them that come before its cancel.
func (f *fragileSite) watch() (earlier, passed map[string]int) {
	f.t.Helper()
	f.hold(patience) // nothing is to happen twice because the machine is slow
	checkpoint := f.prepare()
	began := history.Now()
	w := f.begin("worker")
	w.ready()
	f.operate(checkpoint, w.ended)
	f.settle()
	f.pass()
	w.stop()
	earlier, passed = map[string]int{}, map[string]int{}
	for _, e := range f.events() {
		if e.At <= began || e.Phase == "" {
			continue
		}
		passed[e.Point()]++
		if e.At < f.cancelAt {
			earlier[e.Point()]++
		}
	}
	// A worker announces itself as often as the time that it takes: the first
	// one is before it serves.
	for _, phase := range []history.Phase{history.Before, history.After} {
		point := history.Event{What: history.Announce, Phase: phase}.Point()
		passed[point] = 1
		earlier[point] = map[bool]int{true: 1}[f.kind.cancelled]
	}
	f.judge("nobody died")
	f.forget()
	f.hold(trialHold)
	return earlier, passed
}

// reach is at for a passing that an operation may not come to at once: how many
// marks go into one write of the journal differs from run to run.
func (f *fragileSite) reach(point string) (died bool) {
	f.t.Helper()
	for range 4 {
		if f.at(point) {
			return true
		}
	}
	return false
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
		f.operate(checkpoint, first.ended)
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
	for f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '"+f.kind.name+"'") == 0 {
		f.ask(checkpoint) // the request was too old when a worker could take it again
	}
	f.insist()
	f.settle()
	f.pass()
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
	await(f.t, "the "+f.kind.name+" to end", func() (bool, any) {
		n := f.db.count("SELECT COUNT(*) FROM protection_operations WHERE kind = '" + f.kind.name + "' AND state = 'ended'")
		open := f.unfinished()
		return n > 0 && open == 0, [2]int{n, open}
	})
}
