// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// patience is a deadline for what takes seconds: a node's boot, an election, the
// return of traffic. It is generous because the machine may be busy: a boot has
// taken two minutes and a half.
const patience = 6 * time.Minute

// broker is the cluster under test; its nodes are containers.
type broker struct {
	t       *testing.T
	url     *rpc.TransportURL
	text    string // of url
	nodes   []node
	network string
}

// node is one container and the address of its published port.
type node struct {
	name    string
	address string
}

// newBroker skips the test where there is no cluster.
func newBroker(t *testing.T) *broker {
	t.Helper()
	text, names := os.Getenv("RABBIT_URL"), strings.Fields(os.Getenv("KARBOR_TEST_CLUSTER"))
	if len(names) == 0 {
		t.Skip("KARBOR_TEST_CLUSTER is not set: tools/rabbitmq/up -n 3 starts a cluster and prints it")
	}
	u, err := rpc.ParseTransportURL(text)
	if err != nil {
		t.Fatal(err)
	}
	hosts := u.Brokers()
	if len(names) < 3 || len(hosts) != len(names) {
		t.Fatalf("KARBOR_TEST_CLUSTER names %d nodes and RABBIT_URL %d hosts, want the same three or more", len(names), len(hosts))
	}
	b := &broker{t: t, url: u, text: text, network: os.Getenv("KARBOR_TEST_CLUSTER_NETWORK")}
	for i, name := range names {
		b.nodes = append(b.nodes, node{name: name, address: hosts[i].Address()})
	}
	return b
}

func (b *broker) docker(arguments ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", arguments...).CombinedOutput(); err != nil {
		b.t.Fatalf("docker %s: %v: %s", strings.Join(arguments, " "), err, out)
	}
}

// serving reports whether the node, and not only the engine's proxy before it,
// answers AMQP's protocol header with a frame of the type method.
func (n node) serving() bool {
	c, err := net.DialTimeout("tcp", n.address, time.Second)
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

// expendable reports whether all quorum queues can do without the node, which an
// operator asks before a node is taken down.
func (n node) expendable() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, "docker", "exec", n.name, "rabbitmq-queues", "-q", "check_if_node_is_quorum_critical").Run() == nil
}

// whole waits until every node serves and no queue depends on the one to come.
func (b *broker) whole(next node) {
	b.t.Helper()
	for _, n := range b.nodes {
		until(b.t, n.name+" to serve", n.serving)
	}
	until(b.t, "the quorum queues to do without "+next.name, next.expendable)
}

// until waits for a condition of the outside world.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			testify(t)
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
