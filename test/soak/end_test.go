// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

const (
	terminate = syscall.SIGTERM
	// complaints of one kind are listed up to this many.
	complaints = 20
)

// served shows that after the last fault everything works again: every client is
// answered, and every server is reached by its name and by a fanout.
func (s *soak) served() {
	s.t.Helper()
	for _, p := range s.clients() {
		p.restart()
	}
	for _, p := range s.clients() {
		s.until(p.name+" to be served after the last fault", func() bool { return p.answers.Load() >= enough })
	}
	u, err := s.url()
	if err != nil {
		s.t.Fatal(err)
	}
	o := rabbit.DefaultOptions()
	o.DurableQueues = true
	transport, err := rabbit.New(u, o, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := rpc.NewClient(transport, rpc.Target{Topic: s.topic}, rpc.ClientOptions{Timeout: patience})
	for _, name := range []string{"one", "two"} {
		direct := client.Prepare(func(t *rpc.Target) { t.Server = name })
		if err := direct.Call(ctx, nil, "mark", map[string]any{"id": "named-" + name}, nil); err != nil {
			s.t.Errorf("calling server %s by its name: %v", name, err)
		}
	}
	if err := client.Prepare(func(t *rpc.Target) { t.Fanout = true }).Cast(ctx, nil, "mark", map[string]any{"id": "everybody"}); err != nil {
		s.t.Errorf("a fanout: %v", err)
	}
	s.until("the fanout to reach both servers", func() bool {
		text, err := os.ReadFile(filepath.Join(s.folder, "reads"))
		return err == nil && strings.Count(string(text), " everybody\n") == 2
	})
	if err := transport.Close(ctx); err != nil {
		s.t.Error(err)
	}
}

// rest lets the clients finish what is under way.
func (s *soak) rest() (all []client) {
	s.t.Helper()
	for _, p := range s.clients() {
		p.say("pause")
	}
	for _, p := range s.clients() {
		all = append(all, client{name: p.name, sent: p.state("idle").Sent})
	}
	for _, p := range s.pythons {
		p.finish()
	}
	return all
}

// connections are those of everybody to the broker.
func (s *soak) connections() int {
	s.t.Helper()
	return len(strings.Fields(s.control("list_connections", "--no-table-headers", "pid")))
}

// settled waits until the peers in Go hold no more than at rest before. A server
// keeps up to as many goroutines as it has workers for the next requests.
func (s *soak) settled(baseline map[string]usage, connections int) {
	s.t.Helper()
	const idle = 32
	for _, p := range s.goPeers() {
		before, now := baseline[p.name], usage{}
		allowed := before.goroutines
		if p != s.caller {
			allowed += idle
		}
		deadline := time.Now().Add(patience)
		for now = p.usage(); now.goroutines > allowed || now.descriptors > before.descriptors; now = p.usage() {
			if time.Now().After(deadline) {
				s.t.Errorf("%s keeps %s, and had %s before", p.name, now, before)
				_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its log has the goroutines
				break
			}
			s.wait(time.Second)
		}
		s.t.Logf("at rest after: %s: %s", p.name, now)
	}
	s.until("the connections to be those from before", func() bool { return s.connections() <= connections })
	s.t.Logf("at rest after: %d connections, %d before", s.connections(), connections)
}

// finish ends all processes in order.
func (s *soak) finish() {
	s.t.Helper()
	s.caller.finish()
	for _, p := range []*peer{s.steady, s.mortal} {
		_ = p.cmd.Process.Signal(terminate)
		p.gone()
	}
	s.until("all connections to be gone", func() bool { return s.connections() == 0 })
}

// judge compares the histories.
func (s *soak) judge(clients []client, memory []*watched, spent time.Duration) {
	s.t.Helper()
	executions := append(readFile(s, "journal", readExecutions), readFile(s, "reads", readExecutions)...)
	d, wrong := examine(executions)
	sent, byGo := 0, 0
	for _, c := range clients {
		c.calls = readFile(s, filepath.Base(historyOf("", c.name)), readCalls)
		a, bad := c.account()
		s.t.Logf("%s: %s", c.name, a)
		wrong = append(append(wrong, bad...), d.compare(c)...)
		sent += a.sent
		if c.name == s.caller.name {
			byGo = a.sent
			for name := range a.raised {
				if name != "delivery" && name != "undeliverable" {
					wrong = append(wrong, "the client in Go raised "+name)
				}
			}
		}
	}
	for n, text := range wrong {
		if n == complaints {
			s.t.Errorf("and %d more complaints", len(wrong)-n)
			break
		}
		s.t.Error(text)
	}
	s.t.Logf("%d calls in %s, %.0f/s; %d were planned", sent, spent.Round(time.Second), float64(sent)/spent.Seconds(), int(s.planned()))
	s.t.Logf("servers: %d started, %d read; came again and were recognised by the journal: %d; read by two processes: %d; again in one process after more than it remembers: %d",
		len(d.runs), len(d.reads), d.again, d.twice, d.beyond)
	if float64(sent) < s.planned()/10 {
		s.t.Errorf("%d calls are less than a tenth of the %d that were planned", sent, int(s.planned()))
	}
	steady := 0
	for _, e := range executions {
		if strings.HasPrefix(e.who, "one:") {
			steady++
		}
	}
	for _, w := range memory {
		calls := steady
		if w.peer == s.caller {
			calls = byGo
		}
		w.judge(s.t, calls)
	}
}

func readFile[T any](s *soak, name string, read func(io.Reader) ([]T, error)) []T {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.folder, name))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all, err := read(f)
	if err != nil {
		s.t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	return all
}
