// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is waited for. It is no
// expectation: a machine may have a lot to do, and a cloud too.
const patience = 45 * time.Minute

// Worker is one process of the service.
type Worker struct {
	Host string

	t      testing.TB
	cmd    *exec.Cmd
	log    string // path of its log file
	stderr bytes.Buffer
	ready  chan struct{} // closed when it has said that it serves
	ended  chan struct{} // closed when the process has ended
}

// listen is what systemd does for a unit of Type=notify. It returns the path of
// the socket.
func (w *Worker) listen(path string) string {
	w.t.Helper()
	_ = os.Remove(path) // an earlier process of the host had one
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(w.t, err)
	var reading sync.WaitGroup
	reading.Go(func() {
		said := sync.OnceFunc(func() { close(w.ready) })
		message := make([]byte, 4096)
		for {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			if strings.Contains(string(message[:n]), "READY=1") {
				said()
			}
		}
	})
	w.t.Cleanup(func() {
		_ = socket.Close()
		reading.Wait()
	})
	return path
}

// Stop ends the worker as an operator does.
func (w *Worker) Stop() {
	w.t.Helper()
	must(w.t, w.cmd.Process.Signal(syscall.SIGTERM))
	if code := w.wait(); code != 0 {
		w.t.Errorf("worker %s ended with code %d after SIGTERM:\n%s", w.Host, code, w.stderr.String())
	}
}

func (w *Worker) wait() int {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Fatalf("worker %s does not end", w.Host)
	}
	return w.cmd.ProcessState.ExitCode()
}

// Log returns the text of the worker's log.
func (w *Worker) Log() string {
	w.t.Helper()
	text, err := os.ReadFile(w.log)
	must(w.t, err)
	return string(text)
}

// cleanUp ends a worker that is still there, and shows the log of a test that
// failed.
func (w *Worker) cleanUp() {
	select {
	case <-w.ended:
	default:
		w.Stop()
	}
	text := w.Log()
	if w.t.Failed() {
		w.t.Logf("the log of %s:\n%s\n%s", w.Host, text, w.stderr.String())
	} else if strings.Contains(text, "panic") || w.stderr.Len() > 0 {
		w.t.Errorf("worker %s panicked or complained:\n%s\n%s", w.Host, text, w.stderr.String())
	}
}
