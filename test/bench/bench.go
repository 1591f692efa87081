// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// bench is one run: the servers side by side, and a client that calls them.
type bench struct {
	site    *site
	program string
	size    size
	table   table
	notes   []string

	transport *rabbit.Transport
	caller    rpc.Context
	ours      *peer
	python    *peer // nil without python3-oslo.messaging
	raw       *peer
	echo      *echoClient
	answer    json.RawMessage // of our list_providers
}

// peer is a server and the way to call it.
type peer struct {
	launch  func() (*process, error)
	call    func(ctx context.Context) error
	process *process // nil while it does not run
}

func newBench(s *site, program string, sizes size) (*bench, error) {
	b := &bench{site: s, program: program, size: sizes}
	u, err := rpc.ParseTransportURL(s.broker)
	if err != nil {
		return nil, fmt.Errorf("RABBIT_URL: %w", err)
	}
	if b.transport, err = rabbit.New(u, rabbit.DefaultOptions(), nil); err != nil {
		return nil, err
	}
	if b.caller, err = caller(); err != nil {
		return nil, err
	}
	b.ours = &peer{launch: b.launchOurs, call: b.listProviders("ours")}
	if b.has("oslo_messaging") {
		b.python = &peer{launch: b.launchPython, call: b.listProviders("python")}
	} else {
		b.notes = append(b.notes, "There is no Python peer for calls: python3-oslo.messaging is not installed, or not wanted.")
	}
	b.raw = &peer{launch: b.launchRaw}
	return b, nil
}

func (b *bench) client(server string) *rpc.Client {
	target := rpc.Target{Exchange: b.site.name, Topic: b.site.topic(server), Version: "1.0"}
	return rpc.NewClient(b.transport, target, rpc.ClientOptions{Timeout: callTime, AtLeastOnce: true})
}

// listProviders makes the call that all servers answer in the same way.
func (b *bench) listProviders(server string) func(context.Context) error {
	client := b.client(server)
	arguments := map[string]any{"marker": nil, "limit": nil, "sort_keys": nil, "sort_dirs": nil, "filters": nil}
	return func(ctx context.Context) error {
		var answer json.RawMessage
		if err := client.Call(ctx, b.caller, "list_providers", arguments, &answer); err != nil {
			return err
		}
		if b.answer == nil {
			b.answer = answer
		}
		if !bytes.Contains(answer, []byte(onDisk)) {
			return fmt.Errorf("the answer lacks a provider: %.200s", answer)
		}
		return nil
	}
}

func (b *bench) launchOurs() (*process, error) {
	config, err := b.site.configure(worker{state: "state-" + rpc.NewID()[:8]})
	if err != nil {
		return nil, fmt.Errorf("configure the worker: %w", err)
	}
	p, err := start("karbor-protection", b.program, "--config-file", config)
	if err == nil {
		p.terminate = true
	}
	return p, err
}

func (b *bench) launchPython() (*process, error) {
	result := b.site.path("result.json")
	if err := os.WriteFile(result, b.answer, 0o600); err != nil {
		return nil, err
	}
	return start("the Python server", python, "test/bench/python/echo_server.py",
		b.site.broker, b.site.name, b.site.topic("python"), "bench", result)
}

// envelopeSize is about what oslo.messaging adds to a result.
const envelopeSize = 200

func (b *bench) launchRaw() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start("the raw echo", self, echoCommand, b.site.broker, b.site.topic("raw"), strconv.Itoa(len(b.answer)+envelopeSize))
}

// serve starts a server and returns how long it took until it had answered a
// call, and how much CPU time. The first call of all is ours: it gives the
// answer that others repeat.
func (b *bench) serve(ctx context.Context, p *peer) (whole, cpu time.Duration, err error) {
	begin := time.Now()
	if p.process, err = p.launch(); err != nil {
		return 0, 0, err
	}
	for {
		err := p.call(ctx)
		if err == nil {
			break
		}
		select {
		case <-p.process.ended:
			return 0, 0, errors.Join(err, p.stop())
		default:
		}
		// The queue outlives a server, so that this happens at its first start only.
		if !errors.Is(err, rpc.ErrUndeliverable) {
			return 0, 0, fmt.Errorf("first call of %s: %w", p.process.name, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	whole = time.Since(begin)
	cpu, err = p.process.cpu()
	return whole, cpu, err
}

func (p *peer) stop() error {
	if p == nil || p.process == nil {
		return nil
	}
	defer func() { p.process = nil }()
	return p.process.stop()
}

func (b *bench) close() error {
	errs := []error{b.ours.stop(), b.python.stop(), b.raw.stop()}
	if b.echo != nil {
		errs = append(errs, b.echo.close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	return errors.Join(append(errs, b.transport.Close(ctx))...)
}

// servers are those that answer oslo.messaging's calls.
func (b *bench) servers() []*peer {
	if b.python == nil {
		return []*peer{b.ours}
	}
	return []*peer{b.ours, b.python}
}

// note adds a line below the table, once.
func (b *bench) note(text string) {
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

func progress(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
