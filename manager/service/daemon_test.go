// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/systemd"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// The steps that a fake instance takes until it serves. Each of them waits for
// its test.
var startSteps = []string{"load", "make", "database", "owner", "broker", "consume"}

var errStep = errors.New("a step failed")

// fake is an instance whose steps a test lets pass, one after the other.
type fake struct {
	number   int
	deaf     bool       // does not notice that its start is cancelled
	steps    chan error // lets the next step pass, or fail
	passed   int
	ctx      context.Context
	serving  bool
	drained  bool
	stops    int
	stopping chan struct{} // lets stop end; nil ends at once
}

func (f *fake) String() string { return fmt.Sprintf("fake %d", f.number) }

func (*fake) view() view { return view{} }

func (f *fake) report(out io.Writer) { fmt.Fprintln(out, f.status()) }

func (f *fake) status() string { return fmt.Sprintf("doing fake %d", f.number) }

// step waits for the test.
func (f *fake) step(ctx context.Context) error {
	cancelled := ctx.Done()
	if f.deaf {
		cancelled = nil
	}
	select {
	case err := <-f.steps:
		f.passed++
		return err
	case <-cancelled:
		return context.Cause(ctx)
	}
}

func (f *fake) start(ctx context.Context) error {
	f.ctx = ctx
	for f.passed < len(startSteps) {
		if err := f.step(ctx); err != nil {
			return err
		}
	}
	f.serving = true
	return nil
}

func (f *fake) drain(context.Context) { f.drained = true }

func (f *fake) stop(ctx context.Context) {
	f.stops++
	if f.stopping != nil {
		select {
		case <-f.stopping:
		case <-ctx.Done():
		}
	}
}

// daemonWorld runs a daemon whose instances are fakes, in a bubble of synctest.
type daemonWorld struct {
	t         *testing.T
	daemon    *daemon
	terminate chan os.Signal
	hangUp    chan os.Signal
	fakes     []*fake                // every one that was begun
	made      []*fake                // those that were given to the daemon
	prepare   func(number int) *fake // nil is a plain one
	loading   *fake                  // whose configuration is being read
	ended     chan struct{}          // closed when run has returned
	err       error                  // of run
	served    bool                   // an instance has served
	log       string                 // the path of the log file
}

func newDaemonWorld(t *testing.T, prepare func(number int) *fake) *daemonWorld {
	t.Helper()
	return newDaemonWorldNotifying(t, new(systemd.Notifier), prepare)
}

func newDaemonWorldNotifying(t *testing.T, notify *systemd.Notifier, prepare func(number int) *fake) *daemonWorld {
	t.Helper()
	w := &daemonWorld{t: t, terminate: make(chan os.Signal, 3), hangUp: make(chan os.Signal, 1), ended: make(chan struct{}), prepare: prepare}
	w.log = filepath.Join(t.TempDir(), "log")
	log, err := telemetry.NewLog(telemetry.LogConfig{File: w.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cfg := testConfig(t)
	w.daemon = &daemon{
		version: "1", log: log, notify: notify, terminate: w.terminate, hangUp: w.hangUp,
		load: func() (*config.Config, error) {
			f := w.begin()
			w.loading = f
			return cfg, f.step(context.Background())
		},
		make: func(ctx context.Context, _ *config.Config) (service, error) {
			f := w.loading
			if w.loading = nil; f == nil { // of the first configuration, which has been read
				f = w.begin()
				f.passed = 1
			}
			if err := f.step(ctx); err != nil {
				return nil, err
			}
			w.made = append(w.made, f)
			return f, nil
		},
	}
	go func() {
		defer close(w.ended)
		w.err = w.daemon.run(cfg)
	}()
	synctest.Wait()
	return w
}

func (w *daemonWorld) logged() string {
	w.t.Helper()
	text, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// testConfig is a configuration without a limit for the end.
func testConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := loadConfig([]string{"--config-file", writeFile(t, "[DEFAULT]\ngraceful_shutdown_timeout = 0\n")})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (w *daemonWorld) begin() *fake {
	number := len(w.fakes)
	f := &fake{}
	if w.prepare != nil {
		f = w.prepare(number)
	}
	f.number, f.steps = number, make(chan error)
	w.fakes = append(w.fakes, f)
	return f
}

// pass lets a step of a fake that waits pass or fail. It reports whether the fake
// was waiting for one.
func (w *daemonWorld) pass(f *fake, err error) bool {
	select {
	case f.steps <- err:
		w.check()
		return true
	default:
		return false
	}
}

// serve lets a fake pass all of its steps.
func (w *daemonWorld) serve(f *fake) {
	w.t.Helper()
	for w.pass(f, nil) {
	}
	if !f.serving {
		w.t.Fatalf("%s does not serve after all of its steps", f)
	}
}

func (w *daemonWorld) reload() {
	w.hangUp <- syscall.SIGHUP
	w.check()
}

func (w *daemonWorld) stop() {
	w.terminate <- syscall.SIGTERM
	w.check()
}

// check expects what holds at every moment: signals are read at once, and an
// instance goes on serving until another one does or the end is asked for.
func (w *daemonWorld) check() {
	w.t.Helper()
	synctest.Wait()
	if w.over() {
		return
	}
	if len(w.terminate)+len(w.hangUp) > 0 {
		w.t.Fatal("a signal is not read")
	}
	serving := slices.ContainsFunc(w.fakes, func(f *fake) bool { return f.serving && !f.drained && f.stops == 0 })
	w.served = w.served || serving
	if w.served && !serving && w.daemon.stopped == nil {
		w.t.Fatal("nobody serves")
	}
}

func (w *daemonWorld) over() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

// finish expects the daemon to end, and every instance to be stopped once.
func (w *daemonWorld) finish() {
	w.t.Helper()
	synctest.Wait()
	if !w.over() {
		w.t.Fatal("the daemon does not end")
	}
	for _, f := range w.made {
		if f.stops != 1 {
			w.t.Errorf("%s was stopped %d times", f, f.stops)
		}
	}
}

// Every point of a start is one at which it may be stopped, or reloaded and
// stopped.
func TestEveryPointOfAStartIsObeyed(t *testing.T) {
	t.Parallel()
	for reloads := range 3 {
		for point := range len(startSteps) {
			for _, deaf := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := newDaemonWorld(t, func(int) *fake { return &fake{deaf: deaf} })
					for range point {
						w.pass(w.fakes[0], nil)
					}
					for range reloads {
						w.reload()
					}
					w.stop()
					for _, f := range w.fakes { // a start that does not notice its end comes to it
						for w.pass(f, nil) {
						}
					}
					w.finish()
					if w.err != nil {
						t.Errorf("after %d steps and %d reloads: %v", point, reloads, w.err)
					}
				})
			}
		}
	}
}

// A reload is a takeover or nothing, at whichever step it fails.
func TestAReloadThatFailsCostsNothing(t *testing.T) {
	t.Parallel()
	for point, step := range startSteps {
		synctest.Test(t, func(t *testing.T) {
			w := newDaemonWorld(t, nil)
			w.serve(w.fakes[0])
			w.reload()
			for range point {
				w.pass(w.fakes[1], nil)
			}
			w.pass(w.fakes[1], fmt.Errorf("%s: %w", step, errStep))
			if w.fakes[0].stops != 0 {
				t.Errorf("the step %s of the new one ended the old one", step)
			}
			for _, want := range []string{"goes on with the old configuration", step, errStep.Error()} {
				if log := w.logged(); !strings.Contains(log, want) {
					t.Errorf("the log does not say %q: %s", want, log)
				}
			}
			w.reload() // the next one is as good as any
			if w.fakes[0].drained {
				t.Error("nobody takes requests")
			}
			w.serve(w.fakes[2])
			if w.fakes[0].stops != 1 || !w.fakes[0].drained {
				t.Error("the old one serves beside the new one")
			}
			w.stop()
			w.finish()
		})
	}
}

// Requests to reload during a reload become one that follows it.
func TestReloadsDuringAReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newDaemonWorld(t, func(number int) *fake { return &fake{deaf: number == 1} })
		w.serve(w.fakes[0])
		for range 40 {
			w.reload()
		}
		if len(w.fakes) != 2 {
			t.Fatalf("%d instances beside each other", len(w.fakes))
		}
		w.serve(w.fakes[1]) // it did not notice that it was to end
		if len(w.fakes) != 3 || w.fakes[0].stops != 1 || w.fakes[1].stops != 0 {
			t.Fatalf("after the second one serves there are %d, the first was stopped %d times, the second %d",
				len(w.fakes), w.fakes[0].stops, w.fakes[1].stops)
		}
		w.serve(w.fakes[2])
		w.stop()
		w.finish()
	})
}

// The first instance may be replaced while it still waits, and the daemon ends
// only when none is left.
func TestReloadsDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		first, second error
		again         bool
		want          error
	}{
		{name: "the second serves"},
		{name: "the first is refused, the second serves", first: errStep},
		{name: "the second is refused, the first serves", second: errStep},
		{name: "both are refused", first: errStep, second: errStep, want: errStep},
		{name: "the first is refused while the second is replaced", first: errStep, again: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newDaemonWorld(t, func(number int) *fake { return &fake{deaf: c.again && number == 1} })
				w.reload()
				if c.again {
					w.reload()
				}
				if c.first != nil {
					w.pass(w.fakes[0], c.first)
				}
				if c.again {
					w.pass(w.fakes[1], errStep)
				}
				last := w.fakes[len(w.fakes)-1]
				if c.second != nil {
					w.pass(last, c.second)
				} else {
					w.serve(last)
				}
				if c.want == nil {
					if c.first == nil && c.second != nil {
						w.serve(w.fakes[0])
					}
					w.stop()
				}
				w.finish()
				if !errors.Is(w.err, c.want) {
					t.Errorf("got %v, want %v", w.err, c.want)
				}
			})
		})
	}
}

// A start and operations that do not end hold up two signals, and not the third.
func TestTheThirdSignalEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newDaemonWorld(t, func(int) *fake { return &fake{deaf: true} })
		w.pass(w.fakes[0], nil)
		for i := range 3 {
			if w.over() {
				t.Fatalf("ended after %d signals: %v", i, w.err)
			}
			w.stop()
			w.reload()
		}
		<-w.ended
		if w.err == nil {
			t.Error("the end was cut off and is no failure")
		}
		for w.pass(w.fakes[0], nil) {
		}
	})
}

// Operations have graceful_shutdown_timeout to finish, or until the second signal.
func TestTheEndWaitsForOperations(t *testing.T) {
	t.Parallel()
	for _, twice := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newDaemonWorld(t, func(int) *fake { return &fake{stopping: make(chan struct{})} })
			w.serve(w.fakes[0])
			w.reload()
			w.serve(w.fakes[1])
			w.stop()
			if w.over() {
				t.Fatal("ended before the operations")
			}
			if twice {
				w.stop()
			} else {
				close(w.fakes[0].stopping)
				synctest.Wait()
				if w.over() {
					t.Fatal("ended before the operations of the second instance")
				}
				close(w.fakes[1].stopping)
			}
			w.finish()
			if w.err != nil {
				t.Error(w.err)
			}
		})
	}
}

// A random order of steps, failures, reloads and signals never leaves a signal
// unread, an instance running, or nobody serving.
func TestDaemonProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			w := newDaemonWorld(t, func(int) *fake { return &fake{deaf: random.IntN(4) == 0} })
			failures := 0
			for range random.IntN(60) {
				if w.over() {
					break
				}
				f := w.fakes[random.IntN(len(w.fakes))]
				switch n := random.IntN(10); {
				case n < 7:
					w.pass(f, nil)
				case n < 8:
					if w.pass(f, errStep) {
						failures++
					}
				default:
					w.reload()
				}
			}
			if !w.over() {
				w.stop()
			}
			for i := 0; i < len(w.fakes); i++ {
				for w.pass(w.fakes[i], nil) {
				}
			}
			w.finish()
			if w.err != nil && (w.served || failures == 0) {
				t.Errorf("seed %d: %v, after %d failures", seed, w.err, failures)
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

// The watchdog hears of the loop, and the status line of what it does.
func TestWatchdogAndStatus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", "")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	told := func() string {
		text := make([]byte, 4096)
		n, err := socket.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	expect := func(want ...string) {
		t.Helper()
		got := told()
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("told %q, want %q in it", got, text)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		w := newDaemonWorldNotifying(t, systemd.FromEnvironment(), nil)
		expect("STATUS=starting")
		w.pass(w.fakes[0], nil) // the configuration is read
		w.pass(w.fakes[0], nil) // the instance is made
		pass(statusInterval)
		expect("STATUS=starting; doing fake 0")
		w.serve(w.fakes[0])
		expect("READY=1", "STATUS=serving fake 0")
		counts := map[string]int{}
		for range 2 {
			pass(30 * time.Second) // the watchdog's and three of the status, in any order at its end
			for range 4 {
				counts[told()]++
			}
		}
		if diff := cmp.Diff(map[string]int{"WATCHDOG=1": 2, "STATUS=doing fake 0": 6}, counts); diff != "" {
			t.Errorf("in a minute systemd was told -want +got:\n%s", diff)
		}
		w.reload()
		expect("RELOADING=1", "MONOTONIC_USEC=", "fake 0 is served meanwhile")
		w.pass(w.fakes[1], errors.New("a\nREADY=1"))
		expect("READY=1\nSTATUS=serving fake 0; the last reload failed: a\\nREADY=1")
		pass(statusInterval)
		expect("STATUS=doing fake 0; the last reload failed: a\\nREADY=1")
		w.stop()
		expect("STOPPING=1", "STATUS=stopping")
		w.finish()
	})
}
