// SPDX-License-Identifier: Apache-2.0

// Package broker runs RabbitMQ nodes from Debian's package for tests that kill
// them, stop them and change their settings: each node has a folder, a port mapper
// and ports of its own, and meets no other.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ServerVariable names, in the environment, the script that starts RabbitMQ; its
// tools lie beside it.
const ServerVariable = "KARBOR_TEST_RABBITMQ_SERVER"

// Options describe a node.
type Options struct {
	// Script starts RabbitMQ, as ServerVariable names it.
	Script string
	// Folder holds the node's data, settings and output.
	Folder string
	// Name is the node's, without a host.
	Name string
	// Ports are those of AMQP, the distribution and the port mapper. A node that is
	// started again needs the same ones, so they should not be ephemeral ports, which
	// a client's socket may have in between.
	Ports [3]int
	// Settings are lines of rabbitmq.conf.
	Settings []string
}

// Node is a RabbitMQ node, running or not. Its methods are for one goroutine.
type Node struct {
	o           Options
	environment []string
	output      *os.File
	mapper      *process
	server      *process // nil while it does not run
}

// process is a group that ends together.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// New writes the node's settings and starts its port mapper; Start starts the
// node itself. Close ends both.
func New(o Options) (*Node, error) {
	settings := append([]string{
		fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", o.Ports[0]),
		"loopback_users.guest = true",
		"disk_free_limit.absolute = 50MB",
	}, o.Settings...)
	for name, text := range map[string]string{
		"rabbitmq.conf": strings.Join(settings, "\n") + "\n",
		"plugins":       "[].\n",
	} {
		if err := os.WriteFile(filepath.Join(o.Folder, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("writing settings of a node: %w", err)
		}
	}
	output, err := os.Create(filepath.Join(o.Folder, "output"))
	if err != nil {
		return nil, fmt.Errorf("making the output of a node: %w", err)
	}
	n := &Node{o: o, output: output, environment: []string{
		"HOME=" + o.Folder,
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"RABBITMQ_NODENAME=" + o.Name + "@localhost",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", o.Ports[1]),
		fmt.Sprintf("ERL_EPMD_PORT=%d", o.Ports[2]),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE=" + filepath.Join(o.Folder, "rabbitmq"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(o.Folder, "plugins"),
		"RABBITMQ_MNESIA_BASE=" + o.Folder,
		"RABBITMQ_PID_FILE=" + filepath.Join(o.Folder, "pid"),
		"RABBITMQ_LOGS=-",
		// It must not burn cores while it waits.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
	}}
	// A node would leave a port mapper behind; this one ends with it.
	if n.mapper, err = n.spawn("epmd", "-port", strconv.Itoa(o.Ports[2]), "-address", "127.0.0.1"); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	return n, nil
}

// Address is where the node speaks AMQP.
func (n *Node) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.o.Ports[0])) }

// Start starts the node, for the first time or after Kill with what it had
// written, and returns when it answers AMQP.
func (n *Node) Start(ctx context.Context) error {
	if n.server != nil {
		return errors.New("the node has been started before")
	}
	if n.Serving() {
		return fmt.Errorf("another broker serves at %s", n.Address())
	}
	server, err := n.spawn(n.o.Script)
	if err != nil {
		return err
	}
	n.server = server
	for !n.Serving() {
		select {
		case <-server.ended:
			return fmt.Errorf("the node has ended: %s", n.tail())
		case <-ctx.Done():
			return fmt.Errorf("the node does not serve: %w: %s", ctx.Err(), n.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// Serving reports whether the node answers AMQP's protocol header with a frame of
// the type method, which it does before it lets anybody in.
func (n *Node) Serving() bool {
	c, err := net.DialTimeout("tcp", n.Address(), time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "AMQP\x00\x00\x09\x01"); err != nil {
		return false
	}
	var first [1]byte
	_, err = io.ReadFull(c, first[:])
	return err == nil && first[0] == 1
}

// Kill ends the node without notice.
func (n *Node) Kill() {
	if n.server != nil {
		n.server.kill()
		n.server = nil
	}
}

// Control runs rabbitmqctl and returns what it says.
func (n *Node) Control(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(n.o.Script), "rabbitmqctl"), append([]string{"-q"}, arguments...)...)
	cmd.Env = n.environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return string(out), nil
}

// Close ends the node and its port mapper.
func (n *Node) Close() {
	n.Kill()
	n.mapper.kill()
	_ = n.output.Close()
}

// spawn starts a process in a group of its own.
func (n *Node) spawn(name string, arguments ...string) (*process, error) {
	cmd := exec.Command(name, arguments...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = n.environment, n.o.Folder, n.output, n.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	return p, nil
}

func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// tail is the end of what the node has said.
func (n *Node) tail() string {
	text, err := os.ReadFile(n.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}
