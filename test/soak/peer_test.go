// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/karbor-project/karbor/test/load"
)

// peer is a process under watch, a server or a client.
type peer struct {
	name   string
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	states map[string]chan load.State
	ended  chan struct{} // closed when it has
	err    error         // valid then
	// answers counts those to calls begun after mark, in microseconds of the epoch.
	answers, mark atomic.Int64
}

// spawn starts a process. What it says of itself goes to the folder, and so do
// the calls that a client reports: its history.
func spawn(t *testing.T, folder, name string, cmd *exec.Cmd) *peer {
	t.Helper()
	p := &peer{name: name, t: t, cmd: cmd, ended: make(chan struct{}), states: map[string]chan load.State{
		"ready": make(chan load.State, 1), "idle": make(chan load.State, 4), "stats": make(chan load.State, 1),
	}}
	complaints := appendTo(t, filepath.Join(folder, name+".log"))
	history := appendTo(t, historyOf(folder, name))
	cmd.Stderr = complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in = in
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		p.read(out, history)
		p.err = cmd.Wait()
		_ = complaints.Close()
		_ = history.Close()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func historyOf(folder, name string) string { return filepath.Join(folder, name+".history") }

func appendTo(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (p *peer) read(out io.Reader, history io.Writer) {
	buffered := bufio.NewWriter(history)
	defer func() { _ = buffered.Flush() }()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct {
			load.Call
			load.State
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			p.t.Errorf("%s says %q: %v", p.name, lines.Text(), err)
			continue
		}
		if line.State.State != "" {
			if c := p.states[line.State.State]; c != nil {
				c <- line.State
			}
			continue
		}
		_, _ = fmt.Fprintln(buffered, lines.Text())
		if line.Error == "" && int64(line.Begun*1e6) > p.mark.Load() {
			p.answers.Add(1)
		}
	}
}

func (p *peer) say(word string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		p.t.Fatalf("saying %s to %s: %v", word, p.name, err)
	}
}

// state waits for what the process says of itself.
func (p *peer) state(kind string) load.State {
	p.t.Helper()
	select {
	case s := <-p.states[kind]:
		return s
	case <-p.ended:
		p.t.Fatalf("%s has ended: %v", p.name, p.err)
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // Go tells where it hangs
		<-time.After(time.Second)
		p.t.Fatalf("%s does not become %s", p.name, kind)
	}
	return load.State{}
}

// restart begins to count answers.
func (p *peer) restart() {
	p.mark.Store(time.Now().UnixMicro())
	p.answers.Store(0)
}

// finish ends a process in order.
func (p *peer) finish() {
	p.t.Helper()
	_ = p.in.Close()
	p.gone()
}

func (p *peer) gone() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	if p.err != nil {
		p.t.Errorf("%s ended badly: %v", p.name, p.err)
	}
}

// usage is what a process holds.
type usage struct {
	goroutines, descriptors int
	heap, resident          int64 // bytes
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MB alive on the heap, %.1f MB resident",
		u.goroutines, u.descriptors, float64(u.heap)/1e6, float64(u.resident)/1e6)
}

// usage asks the process.
func (p *peer) usage() usage {
	p.t.Helper()
	p.say("stats")
	s := p.state("stats")
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return usage{s.Goroutines, len(entries), s.Heap, p.resident()}
}

// resident is 0 for a process that has ended.
func (p *peer) resident() (bytes int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok {
		_, _ = fmt.Sscan(rest, &bytes)
	}
	return bytes << 10
}
