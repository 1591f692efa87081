// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/test/functional/history"
)

// TestSleeper stops a worker in the midst of a protection, for twice the time
// after which it is taken for dead. When it wakes up, with the image's data at
// its door, another one has brought the protection to its end: it writes nothing
// more for it, to bank, journal or tables.
func TestSleeper(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE", "KARBOR_TEST_SWIFT")
	tr := newTrial(t, inSwift, image)
	const hold = 4 * time.Second
	tr.conf.set("DEFAULT", "operation_owner_hold", fmt.Sprint(hold.Seconds()))
	g := tr.useGate(tr.user)
	sleeper := tr.begin("sleeper")
	sleeper.ready()
	g.shut()
	a := tr.caller()
	plan := a.plan(tr.provider, tr.user.upload(mib/4))
	id := a.protect(plan)
	tr.asked(history.Request{Kind: "protect", Plan: plan.id, Answered: true, Result: id})
	<-g.held
	sleeper.signal(syscall.SIGSTOP)
	other := tr.begin("other")
	other.ready()
	<-g.held // the other one is there, too
	g.open()
	await(t, "the protection to end", func() (bool, any) { n := tr.unfinished(); return n == 0, n })
	await(t, "twice the hold to pass", func() (bool, any) {
		n := tr.db.count(fmt.Sprintf("SELECT COUNT(*) FROM protection_owners WHERE host = 'sleeper' AND live_until + %d > UNIX_TIMESTAMP(NOW(6)) * 1000000", hold.Microseconds()))
		return n == 0, n
	})
	woken := history.Now()
	sleeper.signal(syscall.SIGCONT)
	// It has noticed when it has announced itself again, and leaves the work alone.
	await(t, "the sleeper to be announced again", func() (bool, any) {
		n := tr.db.count("SELECT COUNT(*) FROM protection_owners WHERE host = 'sleeper' AND live_until > UNIX_TIMESTAMP(NOW(6)) * 1000000")
		return n == 1, n
	})
	sleeper.logged("is left for others to go on with")
	tr.rest(sleeper, other)
	for _, e := range tr.events() {
		late := e.At > woken && e.Process == fmt.Sprintf("process %d", sleeper.cmd.Process.Pid) && e.Phase == history.After && e.Error == ""
		switch e.What {
		case history.Put, history.Delete, history.Write, history.End, history.Start, history.UpdateLog:
			if late {
				t.Errorf("the sleeper did %+v", e)
			}
		}
	}
	tr.judge("a worker slept")
}
