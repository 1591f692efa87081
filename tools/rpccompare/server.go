// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/rpc"
)

// stopTime is how long a server may take to end after it was asked to.
const stopTime = 30 * time.Second

// server is one of the servers under measurement.
type server struct {
	name    string
	topic   string
	command []string

	cmd   *exec.Cmd
	input io.Closer

	saturated, at500, at1000 *result
	rss                      float64 // the most it ever had, MiB
}

func (b *bench) topic(kind string) string { return "rpccompare-" + kind + "-" + b.run }

func (b *bench) raw() *server {
	topic := b.topic("raw")
	return &server{name: "raw amqp091-go", topic: topic, command: []string{"/proc/self/exe", echoCommand, b.text, topic}}
}

func (b *bench) ours() *server {
	topic := b.topic("ours")
	return &server{name: "this project", topic: topic, command: []string{
		filepath.Join(b.bin, "rpc-testserver"), "--url", b.text, "--topic", topic, "--server", "one"}}
}

func (b *bench) python() *server {
	topic := b.topic("python")
	return &server{name: "oslo.messaging", topic: topic, command: []string{
		python, "test/interop/python/server.py", b.text, topic, "one"}}
}

// start starts the server and waits for its line that says it is ready.
func (s *server) start() error {
	s.cmd = exec.Command(s.command[0], s.command[1:]...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.Trim(line, "\"\n") != "ready" {
		s.kill()
		return fmt.Errorf("it says %q instead of being ready", line)
	}
	return nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// stop ends the server: some end with their input, others at a signal.
func (s *server) stop() error {
	_ = s.input.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopTime, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	if err := s.cmd.Wait(); err != nil && !ended(s.cmd, syscall.SIGTERM) {
		return fmt.Errorf("ending: %w", err)
	}
	return nil
}

// ended reports whether the program was ended by the signal, as one without a
// handler of its own is.
func ended(c *exec.Cmd, by syscall.Signal) bool {
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == by
}

// clean removes the queues that outlive their servers.
func (b *bench) clean(servers []*server) {
	ch, done, err := b.channel()
	if err != nil {
		return
	}
	defer done()
	for _, s := range servers {
		for _, queue := range []string{s.topic, s.topic + ".one"} {
			_, _ = ch.QueueDelete(queue, false, false, false)
		}
		_ = ch.ExchangeDelete(s.topic+"_fanout", false, false)
	}
}

// channel opens a channel to the broker.
func (b *bench) channel() (*amqp.Channel, func(), error) {
	conn, err := dial(b.url)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return ch, func() { _ = conn.Close() }, nil
}

func (b *bench) compare(ctx context.Context, alone bool) error {
	if b.text == "" {
		return errors.New(`RABBIT_URL is not set; eval "$(tools/services/up rabbitmq)" starts a broker and sets it`)
	}
	var err error
	if b.url, err = rpc.ParseTransportURL(b.text); err != nil {
		return fmt.Errorf("RABBIT_URL: %w", err)
	}
	if b.broker = listenerOf(b.url.Brokers()[0].Port); b.broker == 0 {
		fmt.Println("The broker's process is not to be found here: its CPU time is left out.")
	}
	fmt.Println(machine())
	servers := []*server{b.raw(), b.ours()}
	switch {
	case alone:
	case exec.Command(python, "-c", "import oslo_messaging").Run() != nil:
		fmt.Println("python3-oslo.messaging is not installed: there is no server in Python.")
	default:
		servers = append(servers, b.python())
	}
	defer b.clean(servers)
	for _, s := range servers {
		if err := b.measure(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	show(servers)
	if b.backlog == 0 {
		return nil
	}
	return b.drain(ctx, b.ours())
}
