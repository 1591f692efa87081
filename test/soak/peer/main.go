// SPDX-License-Identifier: Apache-2.0

// Command peer is what the soak watches from outside: "peer serve" is an RPC
// server and "peer call" a client, each a process of its own, so that its memory
// is nobody else's.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
	"github.com/karbor-project/karbor/test/load"
)

// closing bounds an orderly end.
const closing = 40 * time.Second

// settings are the flags of both kinds.
type settings struct {
	url, topic, name string
	journal, reads   string
	callers, memory  int
	rate             float64
	timeout          time.Duration
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("usage: peer serve|call FLAGS")
	}
	var s settings
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	flags.StringVar(&s.url, "url", "rabbit://", "transport URL")
	flags.StringVar(&s.topic, "topic", "soak", "topic")
	flags.StringVar(&s.name, "name", "one", "server name, or beginning of a client's ids")
	flags.StringVar(&s.journal, "journal", "", "file in which all servers enter the work that they start")
	flags.StringVar(&s.reads, "reads", "", "file of this process for everything else that it does")
	flags.IntVar(&s.memory, "memory", 1<<16, "how many ids of the journal are expected")
	flags.IntVar(&s.callers, "callers", 1, "calls at a time")
	flags.Float64Var(&s.rate, "rate", 1, "calls a second of all callers")
	flags.DurationVar(&s.timeout, "timeout", rpc.DefaultTimeout, "of a call")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	u, err := rpc.ParseTransportURL(s.url)
	if err != nil {
		return err
	}
	log := logrus.New()
	transport, err := rabbit.New(u, options(), log)
	if err != nil {
		return err
	}
	switch os.Args[1] {
	case "serve":
		err = serve(s, transport, log)
	case "call":
		err = call(s, transport)
	default:
		err = fmt.Errorf("neither serve nor call: %q", os.Args[1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return errors.Join(err, transport.Close(ctx))
}

// options are those of a deployment whose broker may restart: requests survive
// it. Heartbeats find connections that have gone silent.
func options() rabbit.Options {
	o := rabbit.DefaultOptions()
	o.DurableQueues = true
	o.HeartbeatThreshold = 10
	return o
}

// output writes lines that the soak reads.
type output struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func newOutput(w io.Writer) *output { return &output{w: bufio.NewWriter(w)} }

func (o *output) write(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // of types of this package
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.w.Write(append(text, '\n'))
	_ = o.w.Flush()
}

// stats are of the process.
func (o *output) stats() {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtime.GC()
	metrics.Read(alive)
	o.write(load.State{State: "stats", Goroutines: runtime.NumGoroutine(), Heap: int64(alive[0].Value.Uint64())})
}

// words are the lines of the input, until its end or a signal to terminate.
func words(each func(string)) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case word, ok := <-lines:
			if !ok {
				return
			}
			each(word)
		}
	}
}

// limitGarbage keeps the heap from growing to twice of what is alive, in which a small
// leak would hide for long.
func limitGarbage() { debug.SetGCPercent(50) }
