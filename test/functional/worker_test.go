// SPDX-License-Identifier: Apache-2.0

package functional

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// worker is one process of the service.
type worker struct {
	t      testing.TB
	site   *site
	host   string
	cmd    *exec.Cmd
	log    string // path of its log file
	errors *bytes.Buffer
	told   chan string   // what it tells its service manager, a line each
	ended  chan struct{} // closed when the process has ended
	serves bool          // it has said so
}

// start writes the configuration and starts a worker. It does not wait.
func (s *site) start(host string) *worker {
	s.t.Helper()
	return s.startAs(program, host)
}

// startAs starts another program as a worker, with more in its environment.
func (s *site) startAs(program, host string, env ...string) *worker {
	s.t.Helper()
	s.hosts[host] = true
	w := &worker{t: s.t, site: s, host: host, log: s.path(host + ".log"), errors: &bytes.Buffer{},
		told: make(chan string, 64), ended: make(chan struct{})}
	common := s.write("karbor.conf", s.conf.String())
	own := s.write(host+".conf", ini{"DEFAULT": {"host": host, "log_file": w.log}}.String())
	w.cmd = exec.Command(program, "--config-file", common, "--config-file", own)
	w.cmd.Dir = s.dir
	w.cmd.Stderr = w.errors
	w.cmd.Env = append(append(os.Environ(), "NOTIFY_SOCKET="+w.listen()), env...)
	must(s.t, w.cmd.Start())
	go func() {
		_ = w.cmd.Wait() // the exit code is in ProcessState
		close(w.ended)
	}()
	s.t.Cleanup(w.cleanUp)
	return w
}

// started starts a worker and waits until it serves.
func (s *site) started(host string) *worker {
	s.t.Helper()
	w := s.start(host)
	w.ready()
	return w
}

// listen is what systemd does for a unit of Type=notify. It returns the path of
// the socket.
func (w *worker) listen() string {
	w.t.Helper()
	path := w.site.path(w.host + ".notify")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(w.t, err)
	var reading sync.WaitGroup
	reading.Go(func() {
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			for line := range strings.Lines(string(message[:n])) {
				select {
				case w.told <- strings.TrimSpace(line):
				default: // nobody listens any more
				}
			}
		}
	})
	w.t.Cleanup(func() {
		_ = socket.Close()
		reading.Wait()
	})
	return path
}

// ready waits until the worker says that it serves.
func (w *worker) ready() {
	w.t.Helper()
	if !w.readyOrDead() {
		w.t.Fatalf("worker %s ended with code %d before it was ready:\n%s", w.host, w.exitCode(), w.errors)
	}
}

// serving is ready for who does not know whether it was waited for before. After
// a reload it tells nothing.
func (w *worker) serving() {
	w.t.Helper()
	if !w.serves {
		w.ready()
	}
}

// readyOrDead waits until the worker says that it serves, and reports whether it
// has come to that.
func (w *worker) readyOrDead() bool {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line := <-w.told:
			if line == "READY=1" {
				w.serves = true
				return true
			}
		case <-w.ended:
			return false
		case <-deadline:
			w.t.Fatalf("worker %s is not ready", w.host)
		}
	}
}

func (w *worker) signal(s os.Signal) {
	w.t.Helper()
	must(w.t, w.cmd.Process.Signal(s))
}

// wait waits for the end of the process and returns its exit code, -1 after a
// signal.
func (w *worker) wait() int {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Fatalf("worker %s does not end", w.host)
	}
	return w.exitCode()
}

func (w *worker) exitCode() int { return w.cmd.ProcessState.ExitCode() }

// stop ends the worker as an operator does.
func (w *worker) stop() {
	w.t.Helper()
	w.signal(syscall.SIGTERM)
	if code := w.wait(); code != 0 {
		w.t.Errorf("worker %s ended with code %d after SIGTERM:\n%s", w.host, code, w.errors)
	}
}

// kill ends the worker as a power cut does.
func (w *worker) kill() {
	w.t.Helper()
	w.signal(syscall.SIGKILL)
	w.wait()
}

func (w *worker) running() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// cleanUp stops a worker that is still there, and shows the log of a test that
// failed.
func (w *worker) cleanUp() {
	if w.running() {
		w.stop()
	}
	if w.running() {
		_ = w.cmd.Process.Kill()
		<-w.ended
	}
	if text := w.logText(); w.t.Failed() {
		if w.site.shown[w.host] {
			return // by a later process
		}
		w.site.shown[w.host] = true
		lines := strings.Split(text, "\n")
		early := lines[:max(0, len(lines)-60)]
		bad := slices.DeleteFunc(slices.Clone(early), func(line string) bool {
			return !strings.Contains(line, " ERROR ") && !strings.Contains(line, " WARNING ")
		})
		w.t.Logf("errors and warnings of %s, and the last lines:\n%s\n...\n%s", w.host, strings.Join(bad, "\n"), strings.Join(lines[len(early):], "\n"))
	} else if strings.Contains(text, "panic") || w.errors.Len() > 0 {
		w.t.Errorf("worker %s panicked or complained:\n%s\n%s", w.host, text, w.errors)
	}
}

func (w *worker) logText() string {
	w.t.Helper()
	text, err := os.ReadFile(w.log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Error(err)
	}
	return string(text)
}

// logged waits until a line of the log holds the text.
func (w *worker) logged(text string) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%q in the log of %s", text, w.host), func() (bool, any) {
		return strings.Contains(w.logText(), text), "no such line"
	})
}

// metrics asks the worker as Prometheus does, at the address that is in its log.
func (w *worker) metrics() string {
	w.t.Helper()
	const told = "metrics are served on "
	text := w.logText()
	at := strings.LastIndex(text, told)
	if at < 0 {
		w.t.Fatalf("worker %s serves no metrics", w.host)
	}
	address, _, _ := strings.Cut(text[at+len(told):], "\n")
	defer http.DefaultClient.CloseIdleConnections()
	res, err := http.Get("http://" + address + "/metrics")
	must(w.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(w.t, err)
	if res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("karbor_")) {
		w.t.Errorf("the metrics of %s: %s\n%s", w.host, res.Status, body)
	}
	return string(body)
}

// memory returns a figure of /proc/PID/status in MiB: VmRSS is what the process
// has now, VmHWM the most that it ever had.
func (w *worker) memory(name string) float64 {
	w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	must(w.t, err)
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		must(w.t, err)
		return kib / 1024
	}
	w.t.Fatalf("/proc tells no %s", name)
	return 0
}
