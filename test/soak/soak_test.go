// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest/faultproxy"
	"github.com/karbor-project/karbor/test/broker"
	"github.com/karbor-project/karbor/test/load"
)

const (
	// patience is longer than anything that must happen takes on a busy machine.
	patience = 3 * time.Minute
	// callTimeout is shorter than some faults, so that callers do give up.
	callTimeout = 10 * time.Second

	goRate, goCallers         = 350, 160
	pythonRate, pythonCallers = 50, 24 // of each process
	pythons                   = 3
	// enough answers show that a client is served again.
	enough = 100
)

// line is a peer's way to the broker.
type line struct {
	name  string
	proxy *faultproxy.Proxy
}

func (l line) url() string { return "rabbit://guest:guest@" + l.proxy.Addr() + "/" }

// soak is everything that is under way.
type soak struct {
	t        *testing.T
	folder   string // of histories and output
	duration time.Duration
	topic    string
	program  string // the peers in Go

	node    *broker.Node
	lines   []line
	steady  *peer // the server that nobody ends
	mortal  *peer // the one that is ended and started again
	born    int   // how often
	caller  *peer // the client in Go
	pythons []*peer

	lingering sync.WaitGroup // faults that others overtake
}

func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes long")
	}
	s := newSoak(t)
	seed := setting(t, "SOAK_SEED", rand.Uint64(), func(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) })
	t.Logf("SOAK_SEED=%d SOAK_DURATION=%s", seed, s.duration)
	s.begin()

	connections := s.connections()
	baseline := map[string]usage{}
	for _, p := range s.goPeers() {
		baseline[p.name] = p.usage()
		t.Logf("at rest before: %s: %s", p.name, baseline[p.name])
	}
	if connections != 2*len(s.goPeers()) {
		t.Errorf("%d connections, want two for each of %d peers", connections, len(s.goPeers()))
	}

	s.startPythons()
	s.caller.say("run")
	memory := []*watched{{peer: s.steady}, {peer: s.caller}}
	end := watch(max(s.duration/samples, 100*time.Millisecond), memory...)
	t.Cleanup(end)
	begun := time.Now()
	s.disturb(newPlan(seed), begun)
	s.served()
	end()
	spent := time.Since(begun)

	clients := s.rest()
	s.settled(baseline, connections)
	s.finish()
	s.judge(clients, memory, spent)
}

// setting is a variable of the environment, or its default.
func setting[T any](t *testing.T, name string, otherwise T, parse func(string) (T, error)) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := parse(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// newSoak has a broker and ways to it.
func newSoak(t *testing.T) *soak {
	t.Helper()
	script := os.Getenv(broker.ServerVariable)
	if script == "" {
		t.Skipf("%s is not set: with Debian's rabbitmq-server it is /usr/lib/rabbitmq/bin/rabbitmq-server", broker.ServerVariable)
	}
	s := &soak{
		t: t, topic: "soak", folder: os.Getenv("SOAK_FOLDER"),
		duration: setting(t, "SOAK_DURATION", 20*time.Minute, time.ParseDuration),
	}
	if s.folder == "" {
		s.folder = t.TempDir()
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	s.program = filepath.Join(t.TempDir(), "peer")
	build := []string{"build", "-o", s.program}
	if setting(t, "SOAK_RACE", false, strconv.ParseBool) {
		build = append(build, "-race")
	}
	if out, err := exec.Command("go", append(build, "./peer")...).CombinedOutput(); err != nil {
		t.Fatalf("building the peers: %v: %s", err, out)
	}
	// Below the ephemeral ports: nobody else gets them while the node is down.
	base := setting(t, "KARBOR_TEST_PORT_BASE", 27000, strconv.Atoi)
	node, err := broker.New(broker.Options{
		Script: script, Folder: t.TempDir(), Name: fmt.Sprintf("karbor-soak-%d", base),
		Ports: [3]int{base + 70, base + 71, base + 72},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := node.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s.node = node
	for _, name := range []string{"one", "two", "go", "python"} {
		p, err := faultproxy.Start(node.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		s.lines = append(s.lines, line{name, p})
	}
	return s
}

// begin starts servers and the client in Go, lets them work for a moment and then
// rest: their baseline.
func (s *soak) begin() {
	s.t.Helper()
	s.steady = s.serve("one", s.lines[0])
	s.mortal = s.serve("two", s.lines[1])
	s.caller = spawn(s.t, s.folder, "go", exec.Command(s.program, "call", "-url", s.lines[2].url(), "-topic", s.topic, "-name", "go",
		"-callers", strconv.Itoa(goCallers), "-rate", strconv.Itoa(goRate), "-timeout", callTimeout.String()))
	s.until("the first answers", func() bool { return s.caller.answers.Load() >= 5*enough })
	s.caller.say("pause")
	s.caller.state("idle")
}

// serve starts a server and waits until it listens.
func (s *soak) serve(name string, l line) *peer {
	s.t.Helper()
	planned := int(s.planned())
	p := spawn(s.t, s.folder, name, exec.Command(s.program, "serve", "-url", l.url(), "-topic", s.topic, "-name", name,
		"-journal", filepath.Join(s.folder, "journal"), "-reads", filepath.Join(s.folder, "reads"), "-memory", strconv.Itoa(planned+1<<14)))
	p.state("ready")
	return p
}

// planned is the number of calls of a run without faults.
func (s *soak) planned() float64 { return (goRate + pythons*pythonRate) * s.duration.Seconds() }

func (s *soak) startPythons() {
	s.t.Helper()
	for i := range pythons {
		name := fmt.Sprintf("python%d.", i)
		cmd, err := load.Python{
			URL: s.lines[3].url(), Topic: s.topic, Prefix: name, Methods: []string{"read", "start"},
			Timeout: callTimeout, Callers: pythonCallers, Every: pythonCallers * time.Second / pythonRate,
			Options: map[string]any{"amqp_durable_queues": true, "heartbeat_timeout_threshold": 10},
		}.Command()
		if err != nil {
			s.t.Fatal(err)
		}
		s.pythons = append(s.pythons, spawn(s.t, s.folder, name, cmd))
	}
}

func (s *soak) goPeers() []*peer { return []*peer{s.steady, s.mortal, s.caller} }

func (s *soak) clients() []*peer { return append([]*peer{s.caller}, s.pythons...) }

// disturb does faults until the time is over, and returns when all are mended.
func (s *soak) disturb(p plan, begun time.Time) {
	s.t.Helper()
	s.t.Cleanup(s.lingering.Wait)
	for n := 1; time.Since(begun) < s.duration; n++ {
		f := p.next()
		s.wait(f.rest)
		at := time.Since(begun)
		where := s.strike(f)
		s.t.Logf("%6.1f s: %d. %s: %s", at.Seconds(), n, f, where)
	}
	s.lingering.Wait()
}

// renew ends the mortal server's process, by force or in order, and starts the
// next one.
func (s *soak) renew(force bool) string {
	s.t.Helper()
	s.born++
	if force {
		_ = s.mortal.cmd.Process.Kill()
		<-s.mortal.ended
	} else {
		_ = s.mortal.cmd.Process.Signal(terminate)
		s.mortal.gone()
	}
	s.mortal = s.serve("two", s.lines[1])
	return fmt.Sprintf("number %d", s.born)
}

// wait lets time pass. What goes on in it goes on by itself.
func (s *soak) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.t.Context().Done():
	}
}

// until waits for a condition of the outside world.
func (s *soak) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); s.wait(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = pprof.Lookup("goroutine").WriteTo(s.t.Output(), 1)
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// url of the broker itself.
func (s *soak) url() (*rpc.TransportURL, error) {
	return rpc.ParseTransportURL("rabbit://guest:guest@" + s.node.Address() + "/")
}
