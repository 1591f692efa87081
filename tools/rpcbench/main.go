// SPDX-License-Identifier: Apache-2.0

// Command rpcbench (bin/rpc-bench) loads an oslo.messaging RPC server as clients
// do: requests in the envelope of version 2.0 with _msg_id, _reply_q and
// _timeout to the topic of the server, publisher confirms, a reply queue of its
// own. It counts every reply: a lost, doubled or failed one makes it fail.
//
// It speaks AMQP itself, writes prepared requests in batches and reads of a reply
// only what it must, so that it takes a small part of the processor beside any
// server and two servers can be compared under the same load.
//
// With --rate it is an open loop: requests leave at fixed times whatever became
// of earlier ones, and latencies count from the time at which a request was due,
// so that a server that stalls cannot hide the requests that would have come
// meanwhile. Otherwise it is a closed loop that keeps --concurrency calls in
// flight.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// settings are the flags.
type settings struct {
	url         string
	target      rpc.Target
	method      string
	args        string
	payload     int
	rate        float64
	concurrency int
	calls       int
	duration    time.Duration
	warmup      time.Duration
	timeout     time.Duration
	json        bool
}

func main() {
	s, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, s)
	if err == nil {
		err = show(r, s.json)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rpc-bench:", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("rpc-bench", flag.ContinueOnError)
	f.StringVar(&s.url, "url", "rabbit://guest:guest@127.0.0.1:5672/", "transport URL; its first host is used, without TLS")
	f.StringVar(&s.target.Exchange, "exchange", rpc.DefaultExchange, "control exchange")
	f.StringVar(&s.target.Topic, "topic", "interop", "topic")
	f.StringVar(&s.target.Version, "version", "1.0", "version of the request")
	f.StringVar(&s.target.Namespace, "namespace", "", "namespace of the request")
	f.StringVar(&s.method, "method", "echo", "method to call")
	f.StringVar(&s.args, "args", `{"plan_id": "11111111-2222-3333-4444-555555555555", "n": 1}`, "arguments, a JSON object")
	f.IntVar(&s.payload, "payload", 0, "size of a further argument, payload, in bytes")
	f.Float64Var(&s.rate, "rate", 0, "calls per second of the open loop; 0 is the closed loop")
	f.IntVar(&s.concurrency, "concurrency", 128, "calls in flight in the closed loop")
	f.IntVar(&s.calls, "calls", 0, "end after so many calls rather than after the duration")
	f.DurationVar(&s.duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&s.warmup, "warmup", 2*time.Second, "how long to load before measuring")
	f.DurationVar(&s.timeout, "timeout", time.Minute, "after what time without an answer a call is lost")
	f.BoolVar(&s.json, "json", false, "report as JSON, times in nanoseconds")
	if err := f.Parse(arguments); err != nil {
		return nil, err
	}
	if f.NArg() > 0 || s.concurrency < 1 || s.rate < 0 || s.target.Topic == "" {
		err := errors.New("invalid value or superfluous argument")
		fmt.Fprintln(f.Output(), "rpc-bench:", err)
		return nil, err
	}
	return s, nil
}

func run(ctx context.Context, s *settings) (*report, error) {
	u, err := rpc.ParseTransportURL(s.url)
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	defer c.close()
	queue := "reply_" + rpc.NewID()
	if err := c.prepare(queue); err != nil {
		return nil, err
	}
	t, err := newTemplate(s, queue)
	if err != nil {
		return nil, err
	}
	return newLoad(s, c, t).run(ctx)
}

// show prints the report and returns what makes the run a failure.
func show(r *report, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Print(r)
	}
	return r.verdict()
}
