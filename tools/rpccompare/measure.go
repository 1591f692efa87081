// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// result is a run of rpc-bench and what the processes used for it.
type result struct {
	Sent           uint64        `json:"sent"`
	CallsPerSecond float64       `json:"calls_per_second"`
	P50            time.Duration `json:"p50"`
	P99            time.Duration `json:"p99"`
	P999           time.Duration `json:"p99.9"`
	Max            time.Duration `json:"max"`

	server, broker, client time.Duration // CPU for each call
}

// measure takes the three measurements of a server.
func (b *bench) measure(ctx context.Context, s *server) (err error) {
	if err := s.start(); err != nil {
		return err
	}
	defer func() {
		s.rss = memoryOf(s.pid(), "VmHWM")
		if e := s.stop(); err == nil {
			err = e
		}
	}()
	length := "--duration=" + b.duration.String()
	if s.saturated, err = b.load(ctx, s, length, "--concurrency="+strconv.Itoa(b.concurrency)); err != nil {
		return err
	}
	if s.at500, err = b.load(ctx, s, length, "--rate=500"); err != nil {
		return err
	}
	s.at1000, err = b.load(ctx, s, length, "--rate=1000")
	return err
}

// load runs rpc-bench against a running server.
func (b *bench) load(ctx context.Context, s *server, arguments ...string) (*result, error) {
	fmt.Fprintln(os.Stderr, s.name, arguments)
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "rpc-bench"),
		append([]string{"--url", b.text, "--topic", s.topic, "--json"}, arguments...)...)
	var errText bytes.Buffer
	cmd.Stderr = &errText
	server, broker := cpuOf(s.pid()), cpuOf(b.broker)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rpc-bench: %w: %s%s", err, errText.String(), out)
	}
	r := &result{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("rpc-bench: %w", err)
	}
	calls := time.Duration(max(r.Sent, 1))
	r.server = (cpuOf(s.pid()) - server) / calls
	r.broker = (cpuOf(b.broker) - broker) / calls
	r.client = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / calls
	return r, nil
}

// drain lets requests pile up while no server runs, then starts one and tells how
// much memory it takes.
func (b *bench) drain(ctx context.Context, s *server) error {
	if err := s.start(); err != nil { // declares the queue
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	ch, done, err := b.channel()
	if err != nil {
		return err
	}
	defer done()
	count := strconv.Itoa(b.backlog)
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "rpc-bench"), "--url", b.text, "--topic", s.topic,
		"--calls", count, "--concurrency", count, "--timeout", "10m", "--json")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	for waiting := 0; waiting < b.backlog; time.Sleep(100 * time.Millisecond) {
		q, err := ch.QueueDeclarePassive(s.topic, false, false, false, false, nil)
		if err != nil {
			return err
		}
		waiting = q.Messages
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := s.start(); err != nil {
		return err
	}
	begin := time.Now()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("rpc-bench: %w", err)
	}
	took := time.Since(begin)
	fmt.Printf("\nBacklog of %d requests: answered in %.1f s, %.0f calls/s, each once; the server took %.1f MiB of memory at most.\n",
		b.backlog, took.Seconds(), float64(b.backlog)/took.Seconds(), memoryOf(s.pid(), "VmHWM"))
	return s.stop()
}
