// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// slow is a site whose image protections take as long as its gate is shut.
type slow struct {
	*site
	gate *gate
	db   *tables
	api  *api
	plan plan
}

func newSlow(t *testing.T) *slow {
	t.Helper()
	s := newSite(t)
	s.useCloud()
	db := s.useMariaDB()
	s.sync()
	u := demo(t)
	g := s.useGate(u)
	a := s.api(u.caller)
	p := s.fsProvider(t.TempDir(), image)
	return &slow{site: s, gate: g, db: db, api: a, plan: a.plan(p.id, u.upload(mib))}
}

// begin starts a protection and returns when it waits at the gate.
func (s *slow) begin() string {
	s.t.Helper()
	id := s.api.protect(s.plan)
	select {
	case <-s.gate.held:
	case <-time.After(patience):
		s.t.Fatal("the protection does not come to the gate")
	}
	return id
}

// TestDrain stops a worker while it protects: it finishes that, and leaves what
// comes meanwhile to another worker.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.gate.shut()
	first := s.started("first")
	id := s.begin()
	first.signal(syscall.SIGTERM)
	first.logged("no new requests are taken")

	// The queue keeps the call until somebody takes it.
	answered := make(chan error, 1)
	go func() { answered <- s.api.try("list_providers", map[string]any{}, nil) }()
	if !first.running() {
		t.Fatal("the worker has ended before its operation")
	}
	second := s.started("second")
	if err := <-answered; err != nil {
		t.Errorf("a call during the drain: %v", err)
	}
	if view := s.api.show(s.plan, id); view.Status != "protecting" {
		t.Errorf("the checkpoint is %s during the drain, want protecting", view.Status)
	}
	s.gate.open()
	if code := first.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if status := s.api.settled(s.plan, id); status != "available" {
		t.Errorf("the checkpoint is %s, want available", status)
	}
	s.db.closed(id, 1)
	second.stop()
}

// TestDrainTooLong stops a worker whose operation does not end in time: another
// worker goes on with it.
func TestDrainTooLong(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.conf.set("DEFAULT", "graceful_shutdown_timeout", "1")
	s.gate.shut()
	w := s.started("first")
	id := s.begin()
	w.stop()
	s.goesOn(id)
}

// goesOn expects the next worker to end what the one before has left.
func (s *slow) goesOn(id string) {
	s.t.Helper()
	if rows, _ := s.db.operations(id); len(rows) != 1 || rows[0].Ended {
		s.t.Errorf("operation log %+v, want one that is open", rows)
	}
	next := s.started("next")
	if view := s.api.show(s.plan, id); view.Status != "protecting" {
		s.t.Errorf("the checkpoint is %s, want protecting", view.Status)
	}
	s.gate.open()
	if status := s.api.settled(s.plan, id); status != "available" {
		s.t.Errorf("the checkpoint is %s, want available", status)
	}
	rows, failures := s.db.closed(id, 1)
	if rows[0].Status != "available" || failures[0] != "" {
		s.t.Errorf("operation log %+v with error_info %q, want available", rows[0], failures[0])
	}
	next.stop()
}

// TestSecondSignal stops a worker twice: it does not wait for its operation then.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.conf.set("DEFAULT", "graceful_shutdown_timeout", "0")
	s.gate.shut()
	w := s.started("first")
	id := s.begin()
	w.signal(syscall.SIGTERM)
	w.logged("no new requests are taken")
	w.stop()
	s.goesOn(id)
}

// TestKilled starts a worker again that died: it goes on where it was.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.conf.set("DEFAULT", "operation_owner_hold", "2")
	s.gate.shut()
	w := s.started("first")
	id := s.begin()
	w.kill()
	s.goesOn(id)
}

// TestReload sends SIGHUP after changes of the files.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.fsProvider(t.TempDir(), noop)
	w := s.started("worker")
	a := s.api(stranger())
	if n := a.providers(); n != 1 {
		t.Fatalf("%d providers, want 1", n)
	}

	s.fsProvider(t.TempDir(), noop)
	must(t, os.Rename(w.log, w.log+".1"))
	w.signal(syscall.SIGHUP)
	w.ready()
	if n := a.providers(); n != 2 {
		t.Errorf("%d providers after a reload, want 2", n)
	}
	w.logged("serves topic")

	good := s.conf.String()
	s.conf.set("DEFAULT", "report_interval", "often")
	s.write("karbor.conf", s.conf.String())
	w.signal(syscall.SIGHUP)
	w.logged("goes on with the old configuration")
	w.logged("report_interval")
	if n := a.providers(); n != 2 {
		t.Errorf("%d providers after a wrong reload, want the 2 of before", n)
	}
	a.protected(a.plan(p.id, something()))

	s.write("karbor.conf", good)
	for range 3 {
		w.signal(syscall.SIGHUP)
		w.ready()
	}
	a.protected(a.plan(p.id, something()))
}

// TestReloadDuringWork sends SIGHUP while an operation runs: that goes on, and
// the new configuration serves meanwhile.
func TestReloadDuringWork(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.gate.shut()
	w := s.started("worker")
	id := s.begin()
	other := s.fsProvider(t.TempDir(), noop)
	w.signal(syscall.SIGHUP)
	w.ready()
	s.api.protected(s.api.plan(other.id, something()))
	if view := s.api.show(s.plan, id); view.Status != "protecting" {
		t.Errorf("the checkpoint is %s after a reload, want protecting", view.Status)
	}
	s.gate.open()
	if status := s.api.settled(s.plan, id); status != "available" {
		t.Errorf("the checkpoint is %s, want available", status)
	}
	s.db.closed(id, 1)
	w.stop()
}

// behind puts a relay between the site's workers and the broker.
func (s *site) behind(t *testing.T) *relay {
	t.Helper()
	u, err := url.Parse(os.Getenv("RABBIT_URL"))
	must(t, err)
	way := newRelay(t, u.Host)
	u.Host = way.address()
	s.conf.set("DEFAULT", "transport_url", u.String())
	return way
}

// TestBrokerComesAndGoes starts a worker without a broker, gives it one, and
// takes it away again with all that was declared on it.
func TestBrokerComesAndGoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	way := s.behind(t)
	// A reply whose arrival nobody confirms is repeated as long as operations may run.
	s.conf.set("DEFAULT", "graceful_shutdown_timeout", "3")
	way.set(false)
	p := s.fsProvider(t.TempDir(), noop)
	w := s.start("worker")
	w.logged("broker")
	way.set(true)
	w.ready()
	a := s.api(stranger())
	a.protected(a.plan(p.id, something()))

	for range 3 {
		way.set(false)
		s.forget()
		way.set(true)
		s.heard(a)
		a.protected(a.plan(p.id, something()))
	}

	way.set(false)
	w.signal(syscall.SIGTERM)
	if code := w.wait(); code != 0 {
		t.Errorf("exit code %d without a broker, want 0", code)
	}
}

// forget removes the site's queues and exchanges from the broker, which a
// restart does too: they are not durable.
func (s *site) forget() {
	s.t.Helper()
	conn, err := amqp.Dial(strings.Replace(os.Getenv("RABBIT_URL"), "rabbit://", "amqp://", 1))
	must(s.t, err)
	defer conn.Close()
	s.sweepWith(conn)
}

// heard waits until some worker's queue is there: without one, a call is lost.
func (s *site) heard(a *api) {
	s.t.Helper()
	sure := &api{t: a.t, caller: a.caller, client: a.client.With(atLeastOnce)}
	await(s.t, "a worker to listen", func() (bool, any) {
		err := sure.try("list_providers", map[string]any{}, nil)
		return err == nil, err
	})
}

// TestTwoWorkers share a topic; one of them dies, and the other ends its work.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	s := newSlow(t)
	s.conf.set("DEFAULT", "operation_owner_hold", "3")
	first := s.started("first")
	second := s.started("second")
	// Both take calls: each is told apart by its log.
	await(t, "work for both", func() (bool, any) {
		s.api.protected(s.plan)
		one, two := strings.Count(first.logText(), "protect is done"), strings.Count(second.logText(), "protect is done")
		return one > 0 && two > 0, [2]int{one, two}
	})

	s.gate.shut()
	ids := map[*worker]string{}
	await(t, "a running protection of each", func() (bool, any) {
		id := s.begin()
		for _, w := range []*worker{first, second} {
			if strings.Contains(w.logText(), id) {
				ids[w] = id
			}
		}
		return len(ids) == 2, ids
	})
	first.kill()
	s.gate.open()
	if status := s.api.settled(s.plan, ids[second]); status != "available" {
		t.Errorf("the checkpoint of the worker that lives is %s, want available", status)
	}
	if status := s.api.settled(s.plan, ids[first]); status != "available" {
		t.Errorf("the checkpoint of the dead worker is %s, want available", status)
	}
	s.db.closed(ids[first], 1)
	for range 20 {
		s.api.providers()
	}
	s.api.protected(s.plan)
	second.stop()
}
