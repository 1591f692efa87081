// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/test/load"
)

const (
	// workers is few enough for the idle ones not to hide a leak of goroutines.
	workers = 32
	// effort is what a method takes, so that a process is killed with some under
	// way.
	effort = 3 * time.Millisecond
)

// host is a server's process. Its histories have a line for each execution:
// what, who, the how-manieth of this process, unique id, id.
type host struct {
	name    string
	journal *journal
	reads   *os.File
	count   atomic.Uint64
}

func serve(s settings, transport *rabbit.Transport, log logrus.FieldLogger) (err error) {
	limitGarbage()
	h := &host{name: s.name + ":" + fmt.Sprint(os.Getpid())}
	if h.journal, err = openJournal(s.journal, s.memory); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.journal.close()) }()
	if h.reads, err = os.OpenFile(s.reads, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.reads.Close()) }()
	server, err := rpc.NewServer(transport, rpc.Target{Topic: s.topic, Server: s.name}, []rpc.Endpoint{{
		Methods: map[string]rpc.Method{
			"read":  {Handler: h.read},
			"mark":  {Handler: h.read},
			"start": {Handler: h.start, Delivery: rpc.UntilAccepted},
		},
	}}, rpc.ServerOptions{Workers: workers, Log: log})
	if err != nil {
		return err
	}
	if err := server.Start(context.Background()); err != nil {
		return err
	}
	out := newOutput(os.Stdout)
	out.write(load.State{State: "ready"})
	words(func(word string) {
		if word == "stats" {
			out.stats()
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return server.Stop(ctx)
}

// read is acknowledged before it runs.
func (h *host) read(_ context.Context, r *rpc.Request) (any, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(h.reads, r.Method, h.name, h.count.Add(1), r.UniqueID, id); err != nil {
		return nil, err
	}
	time.Sleep(effort)
	return id, nil
}

// start enters the request in the journal before it lets the broker forget it,
// and does nothing for one that is there.
func (h *host) start(_ context.Context, r *rpc.Request) (any, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	if err := h.journal.enter(h.name, h.count.Add(1), r.UniqueID, id); err != nil {
		return nil, err
	}
	r.Accept()
	time.Sleep(effort)
	return id, nil
}

func idOf(r *rpc.Request) (id string, err error) {
	err = r.Unpack(rpc.Required("id", &id))
	return id, err
}
