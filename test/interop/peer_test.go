// SPDX-License-Identifier: Apache-2.0

// Package interop has no code of its own: its tests let package rpc and Debian's
// oslo.messaging talk to each other over a real broker.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// scratch is a folder for the time of the tests.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		panic(err)
	}
	scratch = dir
	leaktest.Main(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

const (
	// soon is longer than anything that must happen takes; importing
	// oslo.messaging alone takes seconds on a busy machine.
	soon = 60 * time.Second
	// python is Debian's interpreter, the one that has oslo.messaging.
	python = "/usr/bin/python3"
)

// lab is a topic of its own on the broker.
type lab struct {
	t     *testing.T
	ctx   context.Context
	url   string
	topic string
	// modules is a folder that Python looks into first.
	modules string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	url := os.Getenv("RABBIT_URL")
	if url == "" {
		t.Skip("RABBIT_URL is not set: this test needs RabbitMQ")
	}
	if err := exec.Command(python, "-c", "import oslo_messaging").Run(); err != nil {
		t.Skipf("%s has no oslo.messaging: %v", python, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return &lab{t: t, ctx: ctx, url: url, topic: "i" + rpc.NewID()[:10]}
}

// script is a running Python peer that speaks JSON lines.
type script struct {
	t     *testing.T
	in    io.WriteCloser
	lines chan json.RawMessage
	cmd   *exec.Cmd
	stop  func()
}

// start runs a script of the folder python and waits until it is ready.
func (l *lab) start(name string, args ...string) *script {
	l.t.Helper()
	cmd := exec.CommandContext(l.ctx, python, append([]string{filepath.Join("python", name)}, args...)...)
	if l.modules != "" {
		cmd.Env = append(os.Environ(), "PYTHONPATH="+l.modules)
	}
	s := &script{t: l.t, lines: make(chan json.RawMessage, 100), cmd: cmd}
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err == nil {
		s.in, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(s.lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			s.lines <- json.RawMessage(bytes.Clone(scan.Bytes()))
		}
	})
	s.stop = sync.OnceFunc(func() {
		_ = s.in.Close()
		// A peer that does not end by itself is of no further use.
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		reading.Wait()
		_ = cmd.Wait()
		if l.t.Failed() && errors.Len() > 0 {
			l.t.Logf("%s: %s", name, errors.String())
		}
	})
	l.t.Cleanup(s.stop)
	var ready string
	s.read(&ready)
	if ready != "ready" {
		l.t.Fatalf("%s says %q: %s", name, ready, errors.String())
	}
	return s
}

// read decodes the next line of the script.
func (s *script) read(into any) {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			s.t.Fatal("the script has ended")
		}
		if err := json.Unmarshal(line, into); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	case <-time.After(soon):
		s.t.Fatal("the script says nothing")
	}
}

// command is a request of the Python client.
type command struct {
	Op      string         `json:"op"`
	Method  string         `json:"method"`
	KW      map[string]any `json:"kw,omitempty"`
	Context map[string]any `json:"ctxt,omitempty"`
	Prepare map[string]any `json:"prepare,omitempty"`
}

// outcome is what the Python client got.
type outcome struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Class   string         `json:"class"`
		Module  string         `json:"module"`
		Text    string         `json:"text"`
		Code    *int           `json:"code"`
		Kwargs  map[string]any `json:"kwargs"`
		ExcType string         `json:"exc_type"`
		Value   string         `json:"value"`
	} `json:"error"`
}

func (s *script) send(c command) {
	s.t.Helper()
	line, err := json.Marshal(c)
	if err == nil {
		_, err = s.in.Write(append(line, '\n'))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// do runs one command of the Python client.
func (s *script) do(c command) outcome {
	s.t.Helper()
	if c.Op == "" {
		c.Op = "call"
	}
	if c.Prepare == nil {
		c.Prepare = map[string]any{}
	}
	if _, set := c.Prepare["timeout"]; !set {
		c.Prepare["timeout"] = 30
	}
	s.send(c)
	var o outcome
	s.read(&o)
	return o
}

// transport is a Go peer of the lab.
func (l *lab) transport(options ...string) *rabbit.Transport {
	l.t.Helper()
	u, err := rpc.ParseTransportURL(l.url)
	if err != nil {
		l.t.Fatal(err)
	}
	o := rabbit.DefaultOptions()
	for _, option := range options {
		name, value, _ := bytes.Cut([]byte(option), []byte("="))
		if err := o.Set(string(name), string(value)); err != nil {
			l.t.Fatal(err)
		}
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	t, err := rabbit.New(u, o, log)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := t.Close(context.Background()); err != nil {
			l.t.Errorf("Close: %v", err)
		}
	})
	return t
}

// clean deletes queues of the lab in the end.
func (l *lab) clean(names ...string) {
	l.t.Cleanup(func() {
		u, err := rpc.ParseTransportURL(l.url)
		if err != nil {
			l.t.Fatal(err)
		}
		h := u.Brokers()[0]
		c, err := amqp.DialConfig("amqp://"+h.Address(), amqp.Config{
			SASL: []amqp.Authentication{&amqp.PlainAuth{Username: h.User, Password: h.Password}}, Vhost: u.VirtualHost,
		})
		if err != nil {
			l.t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		ch, err := c.Channel()
		for _, name := range names {
			if err == nil {
				_, err = ch.QueueDelete(name, false, false, false)
			}
		}
		if err != nil {
			l.t.Log(err)
		}
	})
}
