// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// transportURL is the broker's address with a change.
func transportURL(t *testing.T, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(os.Getenv("RABBIT_URL"))
	must(t, err)
	change(u)
	return u.String()
}

// TestReloadThatCannotServe gives a worker that serves a configuration with which
// nobody can: it goes on, says why, and takes the next one that is right.
func TestReloadThatCannotServe(t *testing.T) {
	t.Parallel()
	const secret = "not-the-password"
	for name, c := range map[string]struct {
		section, option, value string
		want                   string // in the log
		waits                  bool   // for the broker to come, rather than being refused
	}{
		"wrong password": {"DEFAULT", "transport_url",
			transportURL(t, func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }), "username or password not allowed", false},
		"unknown virtual host": {"DEFAULT", "transport_url",
			transportURL(t, func(u *url.URL) { u.Path = "/nowhere" }), "nowhere", false},
		"other queue properties": {"oslo_messaging_rabbit", "amqp_auto_delete", "true", "amqp_auto_delete", false},
		"a broker that is away": {"DEFAULT", "transport_url",
			transportURL(t, func(u *url.URL) { u.Host = "127.0.0.1:1" }), "broker is not reachable", true},
		"no provider folder":         {"DEFAULT", "provider_config_dir", "/no/such/folder", "/no/such/folder", false},
		"a metric that is no number": {"DEFAULT", "report_interval", "often", "report_interval", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.fsProvider(t.TempDir(), noop)
			w := s.started("worker")
			a := s.api(stranger())
			good := s.conf.String()
			s.conf.set(c.section, c.option, c.value)
			s.write("karbor.conf", s.conf.String())
			w.signal(syscall.SIGHUP)
			if !c.waits {
				w.logged("goes on with the old configuration")
			}
			w.logged(c.want)
			a.protected(a.plan(p.id, something()))

			s.fsProvider(t.TempDir(), noop)
			s.write("karbor.conf", good)
			w.drain()
			w.signal(syscall.SIGHUP)
			w.ready()
			if n := a.providers(); n != 2 {
				t.Errorf("%d providers after a reload that is right, want 2", n)
			}
			w.stop()
			if strings.Contains(w.logText(), secret) {
				t.Error("the log has the password")
			}
		})
	}
}

// TestNothingOldAfterAReload asks as soon as the service manager hears of the end of a
// reload: the answer is made with the new configuration.
func TestNothingOldAfterAReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fsProvider(t.TempDir(), noop)
	w := s.started("worker")
	a := s.api(stranger())
	for want := 2; want < 12; want++ {
		s.fsProvider(t.TempDir(), noop)
		w.drain()
		w.signal(syscall.SIGHUP)
		w.ready()
		if n := a.providers(); n != want {
			t.Fatalf("%d providers after a reload, want %d", n, want)
		}
	}
	w.stop()
}

// TestRefusedAtTheStart starts workers whose broker refuses them for good: they end
// and say why, in the log and on standard error.
func TestRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ section, option, value, want string }{
		"wrong password": {"DEFAULT", "transport_url",
			transportURL(t, func(u *url.URL) { u.User = url.UserPassword("nobody", "not-the-password") }), "username or password not allowed"},
		"unknown virtual host":   {"DEFAULT", "transport_url", transportURL(t, func(u *url.URL) { u.Path = "/nowhere" }), "nowhere"},
		"other queue properties": {"oslo_messaging_rabbit", "amqp_auto_delete", "true", "amqp_auto_delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.fsProvider(t.TempDir(), noop)
			s.started("first") // declares the queues
			s.conf.set(c.section, c.option, c.value)
			w := s.start("second")
			if code := w.wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for place, text := range map[string]string{"log": w.logText(), "standard error": w.errors.String()} {
				if !strings.Contains(text, c.want) || strings.Contains(text, "not-the-password") {
					t.Errorf("%s: %s", place, text)
				}
			}
			w.errors.Reset()
		})
	}
}

// drain forgets what the worker has told so far.
func (w *worker) drain() {
	for len(w.told) > 0 {
		<-w.told
	}
}

// TestManyReloads reloads faster than an instance starts. Calls are answered all
// the time, and one signal ends it all.
func TestManyReloads(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fsProvider(t.TempDir(), noop)
	w := s.started("worker")
	a := s.api(stranger())
	for range 40 {
		w.signal(syscall.SIGHUP)
		time.Sleep(rand.N(200 * time.Millisecond)) // what is drawn here does not decide the verdict
		if n := a.providers(); n != 1 {
			t.Fatalf("%d providers, want 1", n)
		}
	}
	w.stop()
}

// TestSignalsAtDrawnMoments starts workers and sends SIGHUP and SIGTERM at moments
// of which many are in the middle of a start: each worker ends.
func TestSignalsAtDrawnMoments(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fsProvider(t.TempDir(), noop)
	for i := range 20 {
		w := s.start(fmt.Sprintf("worker-%d", i)) // each with a log of its own
		switch rand.IntN(3) {
		case 0: // anywhere in the process' first steps
			time.Sleep(rand.N(300 * time.Millisecond))
		case 1: // while the broker answers
			w.logged("connected to the broker")
			time.Sleep(rand.N(5 * time.Millisecond))
		default: // during a reload
			w.logged("connected to the broker")
			for range 1 + rand.IntN(3) {
				w.signal(syscall.SIGHUP)
				time.Sleep(rand.N(100 * time.Millisecond))
			}
		}
		w.signal(syscall.SIGTERM)
		// Before anything has begun, the signal has its usual effect.
		if code := w.wait(); code != 0 && w.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Fatalf("exit code %d:\n%s\n%s", code, w.errors, w.logText())
		}
	}
}
