// SPDX-License-Identifier: Apache-2.0

// Command fragile is the service with failpoints: before and after each write to
// the journal, to the database and to the bank, each call to a service, each
// acknowledgement and each reply. It dies there as by SIGKILL, and writes down
// what it does.
//
//	FRAGILE_HISTORY=FILE  append what is done, in the form of package history
//	FRAGILE_AT=NAME:N     die at the Nth passing of a point
//	FRAGILE_TELL=ADDRESS  connect to it instead, and go on when the connection ends
//	FRAGILE_USE=FILE      at SIGUSR1, write there what of the machine is in use
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/test/functional/history"
)

func main() {
	w, err := newWatch()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	tellUse(os.Getenv("FRAGILE_USE"))
	setup := service.Builtin()
	setup.Banks = w.banks(setup.Banks)
	setup.Wrap = service.Wrap{
		Transport: func(t rpc.Transport) rpc.Transport { return transport{t, w} },
		Journal:   func(j journal.Journal) journal.Journal { return entries{j, w} },
		Records:   func(r operation.Records) operation.Records { return records{r, w} },
		HTTP:      func(t http.RoundTripper) http.RoundTripper { return &calls{RoundTripper: t, watch: w} },
	}
	os.Exit(service.Main("fragile", os.Args[1:], setup, os.Stdout, os.Stderr))
}

// watch writes down what is done, and ends the process at its point, or tells
// that it has come there.
type watch struct {
	history *history.Recorder // nil: none
	at      string            // the point, "" for none
	count   int               // its passing
	tell    string            // an address; "": it ends the process

	mu     sync.Mutex
	passed int
}

func newWatch() (*watch, error) {
	w := &watch{tell: os.Getenv("FRAGILE_TELL")}
	if text := os.Getenv("FRAGILE_AT"); text != "" {
		name, count, _ := strings.Cut(text, ":")
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, fmt.Errorf("FRAGILE_AT: want NAME:N, got %q", text)
		}
		w.at, w.count = name, n
	}
	path := os.Getenv("FRAGILE_HISTORY")
	if path == "" {
		return w, nil
	}
	var err error
	w.history, err = history.NewRecorder(path, fmt.Sprintf("process %d", os.Getpid()))
	return w, err
}

// pass passes a failpoint, or dies there. A history with a hole would acquit
// wrongly, so that the process ends rather than to go on without.
func (w *watch) pass(e history.Event) {
	if err := w.history.Add(e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if w.at != e.Point() {
		return
	}
	w.mu.Lock()
	w.passed++
	reached := w.passed == w.count
	w.mu.Unlock()
	if !reached {
		return
	}
	if w.tell == "" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	conn, err := net.Dial("tcp", w.tell)
	if err == nil {
		_, err = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// around passes the points before and after something. do may add to the event
// what is known only afterwards.
func (w *watch) around(e history.Event, do func(after *history.Event) error) error {
	e.Deed, e.Phase = w.history.Deed(), history.Before
	w.pass(e)
	after := history.Event{Deed: e.Deed, What: e.What, Phase: history.After}
	err := do(&after)
	if err != nil {
		after.Error = err.Error()
	}
	w.pass(after)
	return err
}

// value is that of a pointer, or nothing.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
