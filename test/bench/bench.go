// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/workflow"
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

// What the original takes for the same, on two cores.
var (
	quotedMemory = [2]float64{130, 175} // MiB
	quotedCall   = [2]float64{1.2, 1.9} // CPU seconds for 1,000 calls
)

// starting measures the way from the execution of a server to its first answer.
// At the end of it all servers run.
func (b *bench) starting(ctx context.Context) error {
	progress("starting each server %d times", b.size.starts)
	all := b.servers()
	whole, cpu := make([][]time.Duration, 2), make([][]time.Duration, 2)
	for n := range b.size.starts + 1 {
		for i, server := range all {
			if err := server.stop(); err != nil {
				return err
			}
			w, c, err := b.serve(ctx, server)
			if err != nil {
				return err
			}
			if n > 0 { // the first one finds cold caches and no queue
				whole[i], cpu[i] = append(whole[i], w), append(cpu[i], c)
			}
		}
	}
	if err := b.startRaw(ctx); err != nil {
		return err
	}
	b.table.heading(fmt.Sprintf("Start: from exec to the first answer, median of %d", b.size.starts))
	b.table.add(row{name: "time", unit: "ms", ours: milliseconds(median(whole[0])), peer: milliseconds(median(whole[1]))})
	b.table.add(row{name: "CPU time", unit: "ms", ours: milliseconds(median(cpu[0])), peer: milliseconds(median(cpu[1]))})
	time.Sleep(time.Second) // what a start leaves to do is over
	b.table.heading("Memory")
	return b.memory("resident after the start", "VmRSS", quotedMemory)
}

func (b *bench) startRaw(ctx context.Context) error {
	var err error
	if b.echo, err = newEchoClient(b.site.broker, b.site.topic("raw"), requestSize); err != nil {
		return err
	}
	b.raw.call = b.echo.call
	_, _, err = b.serve(ctx, b.raw)
	return err
}

// requestSize is about that of a request of list_providers.
const requestSize = 1100

func (b *bench) memory(name, field string, quoted [2]float64) error {
	r := row{name: name, unit: "MiB", quoted: quoted}
	for _, f := range []struct {
		server *peer
		figure *float64
	}{{b.ours, &r.ours}, {b.python, &r.peer}, {b.raw, &r.raw}} {
		if f.server == nil {
			continue
		}
		var err error
		if *f.figure, err = f.server.process.memory(field); err != nil {
			return err
		}
	}
	b.table.add(r)
	return nil
}

// calling measures list_providers. The servers take turns, so that each kind of
// load finds them in the same weather.
func (b *bench) calling(ctx context.Context) error {
	var rows []row
	for _, l := range []struct{ workers, calls int }{{16, b.size.calls}, {1, b.size.calls / 10}, {64, b.size.calls / 2}} {
		progress("calling, %d at a time", l.workers)
		var took [3]load
		for i, server := range []*peer{b.ours, b.python, b.raw} {
			if server == nil {
				continue
			}
			if _, err := repeat(ctx, 100, l.workers, server.call); err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			var err error
			if took[i], err = measure(ctx, server.process, l.calls, l.workers, server.call); err != nil {
				return err
			}
		}
		if l.workers == 16 {
			if err := b.memory(fmt.Sprintf("resident after %d calls", l.calls), "VmRSS", quotedMemory); err != nil {
				return err
			}
			if err := b.memory("the most so far", "VmHWM", quotedMemory); err != nil {
				return err
			}
		}
		rows = append(rows, callRows(l.workers, l.calls, took)...)
	}
	b.table.heading(fmt.Sprintf("list_providers, an answer of %d bytes", len(b.answer)))
	for _, r := range rows {
		b.table.add(r)
	}
	return nil
}

func callRows(workers, calls int, l [3]load) []row {
	line := func(name, unit string, more bool, quoted [2]float64, of func(load) float64) row {
		return row{name: fmt.Sprintf("%d at a time: %s", workers, name), unit: unit, more: more, quoted: quoted,
			ours: of(l[0]), peer: of(l[1]), raw: of(l[2])}
	}
	return []row{
		line("calls", "1/s", true, [2]float64{}, func(l load) float64 { return l.rate }),
		line("latency, median", "ms", false, [2]float64{}, func(l load) float64 { return milliseconds(l.p50) }),
		line("latency, 99 of 100", "ms", false, [2]float64{}, func(l load) float64 { return milliseconds(l.p99) }),
		line("CPU of the server, 1,000 calls", "s", false, quotedCall, func(l load) float64 { return 1000 * l.cpu.Seconds() }),
	}
}

// remembering adds what the worker has taken in all.
func (b *bench) remembering(context.Context) error {
	most, err := b.ours.process.memory("VmHWM")
	if err != nil {
		return err
	}
	b.table.heading("After all that")
	b.table.add(row{name: "the most memory of the worker", unit: "MiB", ours: most, quoted: quotedMemory})
	return nil
}

// protectWorkers is the number of protects on their way at a time.
const protectWorkers = 16

// What the original takes for one protect, CPU milliseconds.
var quotedProtect = map[int][2]float64{1: {37, 40}, 50: {590, 620}}

// protecting measures protects with the no-op plugin from the call until the
// checkpoint is available in the bank, by workers with their journal in different
// databases.
func (b *bench) protecting(ctx context.Context) error {
	if err := b.protectBy(ctx, "bank and SQLite on the disk", onDisk, worker{state: "protects"}); err != nil {
		return err
	}
	if b.site.memory == "" {
		return nil
	}
	return b.journals(ctx, func(name, url string) error {
		where := "bank in " + memoryFolder + ", " + name
		if url == "" {
			where = "bank and " + name + " in " + memoryFolder
		}
		return b.protectBy(ctx, where, inMemory, worker{state: "protects-" + name, database: url, memory: true})
	})
}

func (b *bench) protectBy(ctx context.Context, where, provider string, w worker) error {
	b.table.heading(fmt.Sprintf("Protect until available: no-op plugin, %s, %d at a time", where, protectWorkers))
	w.name = waiting
	p, err := b.hire(ctx, w)
	if err != nil {
		return err
	}
	for _, c := range []struct{ resources, protects int }{{1, b.size.protects}, {50, b.size.protects / 5}} {
		progress("protecting %d resources %d times, %s", c.resources, c.protects, where)
		err = errors.Join(err, b.protectInto(ctx, p, provider, c.resources, c.protects))
	}
	return errors.Join(err, p.stop())
}

func (b *bench) protectInto(ctx context.Context, p *process, provider string, resources, protects int) error {
	protect, err := b.protect(waiting, provider, resources)
	if err != nil {
		return err
	}
	if _, err := repeat(ctx, protectWorkers, protectWorkers, protect); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	took, err := measure(ctx, p, protects, protectWorkers, protect)
	if err != nil {
		return err
	}
	name := func(what string) string { return fmt.Sprintf("%d resources: %s", resources, what) }
	b.table.add(row{name: name("protects"), unit: "1/s", more: true, ours: took.rate})
	b.table.add(row{name: name("latency, median"), unit: "ms", ours: milliseconds(took.p50)})
	b.table.add(row{name: name("CPU for one"), unit: "ms", ours: milliseconds(took.cpu), quoted: quotedProtect[resources]})
	return nil
}

// protect makes one protect by a server. The bank itself tells when its
// checkpoint is available: asking the worker would cost it what is measured.
func (b *bench) protect(server, provider string, resources int) (func(context.Context) error, error) {
	plugin, err := filesystem.New(filesystem.Config{Path: b.site.bank(provider), Container: "karbor"}, nil)
	if err != nil {
		return nil, err
	}
	seen := checkpoint.NewCollection(bank.New(plugin, nil), provider, checkpoint.Options{})
	plan := newPlan(provider, resources)
	client := b.client(server)
	return func(ctx context.Context) error {
		var id string
		if err := client.Call(ctx, b.caller, "protect", map[string]any{"plan": plan}, &id); err != nil {
			return err
		}
		return available(ctx, seen, id)
	}, nil
}

// newPlan is a plan of volumes that nobody else has.
func newPlan(provider string, resources int) map[string]any {
	list := make([]map[string]any, resources)
	for i := range list {
		list[i] = map[string]any{"type": resource.Volume, "id": uuid.NewString(), "name": fmt.Sprintf("volume %d", i), "extra_info": nil}
	}
	return map[string]any{"id": uuid.NewString(), "name": "bench", "provider_id": provider, "project_id": project,
		"resources": list, "parameters": map[string]any{}}
}

// available waits for a checkpoint to become available.
func available(ctx context.Context, seen *checkpoint.Collection, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		cp, err := seen.Get(ctx, id)
		switch {
		case err != nil:
			return err
		case cp.Status() == checkpoint.Available:
			return nil
		case cp.Status() != checkpoint.Protecting:
			return fmt.Errorf("checkpoint %s is %s", id, cp.Status())
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("checkpoint %s is not available: %w", id, ctx.Err())
		}
	}
}

// listings is how often each listing is repeated; the median counts.
const listings = 5

// listing measures list_checkpoints of a bank with many of them, beside a loop in
// Python over the same files.
func (b *bench) listing(ctx context.Context) error {
	count := b.size.checkpoints
	progress("listing %d checkpoints", count)
	if err := b.fillArchive(ctx, count); err != nil {
		return fmt.Errorf("fill a bank: %w", err)
	}
	client := b.client("ours")
	list := func(want int, arguments map[string]any) (load, error) {
		arguments["provider_id"] = archive
		return measure(ctx, b.ours.process, listings, 1, func(ctx context.Context) error {
			var found []json.RawMessage
			if err := client.Call(ctx, b.caller, "list_checkpoints", arguments, &found); err != nil {
				return err
			}
			if len(found) != want {
				return fmt.Errorf("%d checkpoints instead of %d", len(found), want)
			}
			return nil
		})
	}
	all, err := list(count, map[string]any{})
	if err != nil {
		return fmt.Errorf("listing all: %w", err)
	}
	newest, err := list(10, map[string]any{"limit": 10, "sort_dirs": []string{"desc"}})
	if err != nil {
		return fmt.Errorf("listing the newest: %w", err)
	}
	var peer load
	if !b.size.alone {
		if peer, err = b.listInPython(ctx, count); err != nil {
			return err
		}
	}
	b.table.heading(fmt.Sprintf("list_checkpoints of %d checkpoints, bank in a folder, median of %d", count, listings))
	for _, l := range []struct {
		name string
		took load
	}{{"all", all}, {"the newest 10", newest}} {
		b.table.add(row{name: l.name + ": time", unit: "ms", ours: milliseconds(l.took.p50), peer: milliseconds(peer.p50)})
		b.table.add(row{name: l.name + ": CPU time", unit: "ms", ours: milliseconds(l.took.cpu), peer: milliseconds(peer.cpu)})
	}
	return nil
}

// fillArchive makes checkpoints in memory and writes them out: a bank would make
// sure of each file that it is on the disk.
func (b *bench) fillArchive(ctx context.Context, count int) error {
	memory := banktest.NewMemory()
	now := time.Now().Add(-time.Duration(count) * time.Hour)
	made := checkpoint.NewCollection(bank.New(memory, nil), archive, checkpoint.Options{
		Clock: func() time.Time { now = now.Add(time.Hour); return now },
	})
	plan := checkpoint.Plan{ID: "fc1b1c8a-6c0b-4d0d-8f6b-2f1c0b8d6d3a", Name: "nightly", ProviderID: archive, ProjectID: project,
		Resources: []resource.Resource{{Type: resource.Server, ID: "5d0ec8f2-7f5c-4bc4-a0c8-7a6f2d0b5c11", Name: "web-1"}}}
	for range count {
		if _, err := made.Create(ctx, checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Available}); err != nil {
			return err
		}
	}
	keys, err := memory.List(ctx, bank.ListOptions{})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := copyOut(ctx, memory, key, filepath.Join(b.site.bank(archive), "karbor", filepath.FromSlash(key))); err != nil {
			return fmt.Errorf("writing %s: %w", key, err)
		}
	}
	return nil
}

func copyOut(ctx context.Context, from bank.Plugin, key, path string) error {
	object, err := from.Get(ctx, key)
	if err != nil {
		return err
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}

// listInPython reads the same files in Python, without RPC.
func (b *bench) listInPython(ctx context.Context, count int) (load, error) {
	var whole, cpu []time.Duration
	for range listings {
		seconds, err := printed(ctx, "test/bench/python/list_bank.py", filepath.Join(b.site.bank(archive), "karbor"), archive, strconv.Itoa(count))
		if err != nil {
			return load{}, err
		}
		if len(seconds) != 2 {
			return load{}, fmt.Errorf("list_bank.py printed %v", seconds)
		}
		whole = append(whole, time.Duration(seconds[0]*float64(time.Second)))
		cpu = append(cpu, time.Duration(seconds[1]*float64(time.Second)))
	}
	return load{p50: median(whole), cpu: median(cpu)}, nil
}

// printed runs a Python program that prints numbers.
func printed(ctx context.Context, program string, arguments ...string) ([]float64, error) {
	var complaint bytes.Buffer
	command := exec.CommandContext(ctx, python, append([]string{program}, arguments...)...)
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w\n%s", program, err, complaint.String())
	}
	var numbers []float64
	for _, field := range strings.Fields(string(output)) {
		number, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, fmt.Errorf("running %s: %w", program, err)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}

// The graph of pkg/workflow/testdata/taskflow_bench.py: chains of empty tasks
// beside each other.
const (
	engineTasks   = 1000
	engineWidth   = 10
	engineWorkers = 2
	engineRuns    = 3
)

// engine measures the task engine.
func (b *bench) engine(ctx context.Context) error {
	progress("running tasks")
	r := row{name: "empty tasks", unit: "1/s", more: true}
	var took []time.Duration
	for range 100 * engineRuns { // each is short
		g := chains()
		begin := time.Now()
		if err := workflow.Run(ctx, g, workflow.Options{Workers: engineWorkers}); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
	r.ours = engineTasks / median(took).Seconds()
	if b.has("taskflow") {
		var rates []float64
		for range engineRuns {
			rate, err := printed(ctx, "pkg/workflow/testdata/taskflow_bench.py",
				strconv.Itoa(engineTasks), strconv.Itoa(engineWidth), strconv.Itoa(engineWorkers))
			if err != nil {
				return err
			}
			rates = append(rates, rate...)
		}
		if len(rates) == 0 {
			return errors.New("taskflow_bench.py printed nothing")
		}
		slices.Sort(rates)
		r.peer = rates[len(rates)/2]
	} else {
		b.notes = append(b.notes, "The task engine has no peer: python3-taskflow is not installed, or not wanted.")
	}
	b.table.heading(fmt.Sprintf("Task engine: %d tasks in %d chains, %d workers, median of %d runs", engineTasks, engineWidth, engineWorkers, engineRuns))
	b.table.add(r)
	return nil
}

func chains() *workflow.Graph {
	g := workflow.New()
	for i := range engineTasks {
		id := g.Add(workflow.Task{Name: "empty", Run: func(context.Context) error { return nil }})
		if i >= engineWidth {
			g.Link(id-engineWidth, id)
		}
	}
	return g
}

// has reports whether there is a Python peer that needs a module.
func (b *bench) has(module string) bool {
	return !b.size.alone && exec.Command(python, "-c", "import "+module).Run() == nil
}

// scratch makes an empty database on the server of a URL. drop removes it.
func scratch(ctx context.Context, server string) (made string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", mariadb, err)
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User = "tcp", u.Host, u.User.Username()
	c.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", mariadb, err)
	}
	db := sql.OpenDB(connector)
	name := "bench_" + rpc.NewID()[:8]
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb3"); err != nil {
		return "", nil, errors.Join(fmt.Errorf("making a database: %w", err), db.Close())
	}
	u.Path = "/" + name
	return u.String(), func() error {
		_, err := db.Exec("DROP DATABASE " + name)
		return errors.Join(err, db.Close())
	}, nil
}

// journals calls measure for each database that a worker can have its journal
// in, with the name that the table gives it and the URL, "" for the embedded one.
func (b *bench) journals(ctx context.Context, measure func(name, url string) error) error {
	if err := measure("SQLite", ""); err != nil {
		return err
	}
	server := os.Getenv(mariadb)
	if server == "" {
		b.note("MariaDB was left out: " + mariadb + ` is not set; eval "$(tools/services/up mariadb)" sets it.`)
		return nil
	}
	made, drop, err := scratch(ctx, server)
	if err != nil {
		return err
	}
	return errors.Join(measure("MariaDB", made), drop())
}
