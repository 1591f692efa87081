// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/test/functional/history"
)

// TestRollingRestart restarts three workers one after the other, each in the
// midst of protections, while callers go on. Every operation ends well; what a
// worker has to leave goes on elsewhere because it was given away: nobody would
// be taken for dead before the test gives up.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	need(t, "RABBIT_URL", "KARBOR_TEST_MYSQL", "KARBOR_TEST_GLANCE")
	tr := newTrial(t, inFolder, image)
	tr.conf.set("DEFAULT", "operation_owner_hold", fmt.Sprint(int((10 * patience).Seconds())))
	tr.conf.set("DEFAULT", "graceful_shutdown_timeout", "1") // a download that takes longer is broken off
	g := tr.useGate(tr.user)
	workers := map[string]*worker{}
	for _, host := range []string{"one", "two", "three"} {
		workers[host] = tr.begin(host)
	}
	for _, w := range workers {
		w.ready()
	}
	load := newLoad(tr, g)
	for host := range workers {
		g.shut()
		await(t, "work of "+host, func() (bool, any) {
			n := tr.hasInHand(host)
			if n == 0 {
				load.more(1) // all that there are may wait at the gate with the others
			}
			return n > 0, n
		})
		workers[host].signal(syscall.SIGTERM)
		if code := workers[host].wait(); code != 0 {
			t.Errorf("worker %s ended with code %d", host, code)
		}
		await(t, "others to go on with the work of "+host, func() (bool, any) { n := tr.hasInHand(host); return n == 0, n })
		g.open()
		workers[host] = tr.begin(host)
		workers[host].ready()
		load.goesOn()
	}
	load.end()
	tr.rest(workers["one"], workers["two"], workers["three"])
	tr.judge("three workers were restarted")
	findings, changes := history.JudgeHandover(tr.events())
	for _, finding := range findings {
		t.Error(finding)
	}
	if changes < len(workers) {
		t.Errorf("%d operations changed hands, want one of each worker at least", changes)
	}
	t.Logf("%d protections, %d changed hands", len(tr.requests), changes)
}

// hasInHand is the number of operations that run on a worker, or that it left.
func (tr *trial) hasInHand(host string) int {
	tr.t.Helper()
	return tr.db.count("SELECT COUNT(*) FROM protection_operations o JOIN protection_owners w ON w.id = o.owner WHERE w.host = '" +
		host + "' AND o.state = 'running'")
}

// load is a number of callers, each of whom protects again when its protection
// has ended.
type load struct {
	trial  *trial
	api    *api
	source resource.Resource
	stop   chan struct{}
	held   sync.WaitGroup // who empties the gate's channel
	calls  sync.WaitGroup

	mu    sync.Mutex
	ended int
}

func newLoad(tr *trial, g *gate) *load {
	l := &load{trial: tr, api: tr.caller(), source: tr.user.upload(mib / 8), stop: make(chan struct{})}
	l.more(6)
	l.held.Go(func() {
		for {
			select {
			case <-g.held:
			case <-l.stop:
				return
			}
		}
	})
	return l
}

// more adds callers.
func (l *load) more(callers int) {
	for range callers {
		l.calls.Go(func() {
			for l.one(l.api.plan(l.trial.provider, l.source)) {
			}
		})
	}
}

// one protects and waits for the end. It is false when that is enough.
func (l *load) one(pl plan) bool {
	r := history.Request{Kind: "protect", Plan: pl.id}
	if err := l.api.try("protect", l.api.protectArgs(pl), &r.Result); err != nil {
		l.trial.t.Errorf("a protection during a restart: %v", err)
		return false
	}
	r.Answered = true
	l.trial.asked(r)
	for {
		select {
		case <-l.stop:
			return false
		case <-time.After(betweenLooks):
		}
		var view checkpointView
		err := l.api.try("show_checkpoint", map[string]any{"provider_id": pl.provider, "checkpoint_id": r.Result}, &view)
		var failure *rpc.Failure
		if errors.As(err, &failure) && failure.Class == "CheckpointNotFound" {
			continue // on record; the worker that goes on makes it
		}
		if err != nil {
			l.trial.t.Errorf("show a checkpoint during a restart: %v", err)
			return false
		}
		if view.Status != "protecting" {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	return true
}

// goesOn waits for some more protections to end.
func (l *load) goesOn() {
	l.trial.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ended
	}
	before := count()
	await(l.trial.t, "protections to go on", func() (bool, any) { n := count(); return n >= before+6, n })
}

func (l *load) end() {
	close(l.stop)
	l.calls.Wait()
	l.held.Wait()
}
