// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// callTime is how long a call may take before it counts as lost.
const callTime = 60 * time.Second

// python is Debian's, which has the packages.
const python = "/usr/bin/python3"

// size says how much is done.
type size struct {
	starts, calls, protects, checkpoints, waits, adopted int

	alone bool   // without Python peers
	only  string // the parts, "" for all
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == echoCommand {
		exit(serveEcho(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == waiting {
		os.Exit(serveWaiting(os.Args[2:]))
	}
	var s size
	program := flag.String("program", "bin/karbor-protection", "the worker")
	flag.IntVar(&s.starts, "starts", 5, "starts of each server")
	flag.IntVar(&s.calls, "calls", 10000, "calls of list_providers, 16 at a time, to each server")
	flag.IntVar(&s.protects, "protects", 800, "protects of one resource; a tenth as many of 50")
	flag.IntVar(&s.checkpoints, "checkpoints", 2500, "checkpoints to list")
	flag.IntVar(&s.waits, "waits", 10000, "operations that wait in polls")
	flag.IntVar(&s.adopted, "adopted", 1000, "operations that run when their worker is killed")
	flag.StringVar(&s.only, "only", "", "the parts to measure, separated by commas: "+strings.Join(partNames(), ", ")+"; all by default")
	flag.BoolVar(&s.alone, "alone", false, "measure without Python peers, which take most of the time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, *program, s))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, program string, s size) (err error) {
	broker := os.Getenv("RABBIT_URL")
	if broker == "" {
		return errors.New(`RABBIT_URL is not set; eval "$(tools/services/up rabbitmq)" starts a broker and sets it`)
	}
	if program, err = filepath.Abs(program); err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%w; make build builds it", err)
	}
	site, err := newSite(broker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.remove()) }()
	b, err := newBench(site, program, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	fmt.Println(machine())
	for _, p := range parts {
		if s.only != "" && !slices.Contains(strings.Split(s.only, ","), p.name) {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			return err
		}
	}
	fmt.Println()
	if err := b.table.write(os.Stdout); err != nil {
		return err
	}
	fmt.Print(legend)
	for _, note := range b.notes {
		fmt.Println(note)
	}
	return nil
}

// parts are what is measured, in this order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"start", (*bench).starting}, {"calls", (*bench).calling}, {"protects", (*bench).protecting}, {"listing", (*bench).listing},
	{"engine", (*bench).engine}, {"memory", (*bench).remembering}, {"journal", (*bench).journaling}, {"waits", (*bench).waiting},
	{"adoption", (*bench).adopting},
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

const legend = `
Python peer: python3-oslo.messaging's server answering the same result from memory; python3-taskflow's parallel
engine with threads; a loop over the same files. raw AMQP: amqp091-go without envelope, JSON and confirms.
* quoted, not measured in this run: Karbor's Python service on a machine like the one it was first compared on.
Figures depend on the machine, on the broker and on what else runs; compare within one run.
`

// machine describes where the figures come from.
func machine() string {
	text := fmt.Sprintf("%s, %s, %d CPUs", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU())
	if loads, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average at the start " + strings.Join(strings.Fields(string(loads))[:3], " ")
	}
	return text
}
