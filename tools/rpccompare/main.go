// SPDX-License-Identifier: Apache-2.0

// Command rpccompare measures this project's RPC server beside an echo on nothing
// but the AMQP library and beside oslo.messaging's own server in Python: one
// machine, one broker, one run, the same load from rpc-bench. Only the ratios mean
// something elsewhere. docs/performance.md explains the table.
//
// usage, from the root of the repository, after make peers:
//
//	RABBIT_URL=rabbit://guest:guest@127.0.0.1:5672/ go run ./tools/rpccompare
//
// It fails when a call is lost, doubled or failed; no figure makes it fail.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// python is Debian's, which has the packages.
const python = "/usr/bin/python3"

// bench is one run.
type bench struct {
	url         *rpc.TransportURL
	text        string // of the URL
	run         string // makes topics its own
	bin         string
	duration    time.Duration
	concurrency int
	backlog     int
	broker      int // process, 0 when it is not on this machine
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == echoCommand {
		exit(serveEcho(os.Args[2:]))
	}
	b := &bench{run: rpc.NewID()[:8], text: os.Getenv("RABBIT_URL")}
	flag.StringVar(&b.bin, "bin", "bin", "folder of rpc-testserver and rpc-bench")
	flag.DurationVar(&b.duration, "duration", 10*time.Second, "of each measurement")
	flag.IntVar(&b.concurrency, "concurrency", 128, "calls in flight at saturation")
	flag.IntVar(&b.backlog, "backlog", 200000, "requests that wait for the server; 0 leaves that out")
	alone := flag.Bool("alone", false, "without the Python server, which takes most of the time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(b.compare(ctx, *alone))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "rpccompare:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// machine describes where the figures come from.
func machine() string {
	text := fmt.Sprintf("%s, %s, %d CPUs", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU())
	if loads, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average at the start " + strings.Join(strings.Fields(string(loads))[:3], " ")
	}
	return text
}
