// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// strike does a fault and mends it, or sees to that. where names what it has hit.
func (s *soak) strike(f fault) (where string) {
	s.t.Helper()
	line := s.lines[f.choice%uint(len(s.lines))]
	switch f.kind {
	case cut:
		line.proxy.Cut()
	case reset:
		line.proxy.Reset()
	case stall:
		line.proxy.Stall(true)
		s.mend(f, func() { line.proxy.Stall(false) })
	case refuse:
		line.proxy.Refuse(true)
		line.proxy.Cut()
		s.mend(f, func() { line.proxy.Refuse(false) })
	case delay:
		line.proxy.SetDelay(time.Duration(f.amount) * time.Millisecond)
		s.mend(f, func() { line.proxy.SetDelay(0) })
	case chunk:
		line.proxy.SetChunk(f.amount)
		s.mend(f, func() { line.proxy.SetChunk(0) })
	case termServer, killServer:
		return s.renew(f.kind == killServer)
	default:
		return s.strikeBroker(f)
	}
	return line.name
}

// mend ends the fault of a connection when its time is over, and returns then or,
// for one that lingers, at once.
func (s *soak) mend(f fault, mend func()) {
	if !f.lingers {
		s.wait(f.lasts)
		mend()
		return
	}
	s.lingering.Go(func() {
		s.wait(f.lasts)
		mend()
	})
}

func (s *soak) strikeBroker(f fault) (where string) {
	s.t.Helper()
	switch f.kind {
	case closeAll:
		s.control("close_all_connections", "soak")
	case topicQueue:
		return s.deleteQueue(f.choice, func(name string) bool { return name == s.topic })
	case serverQueue:
		return s.deleteQueue(f.choice, func(name string) bool { return strings.HasPrefix(name, s.topic+".") })
	case fanoutQueue:
		return s.deleteQueue(f.choice, func(name string) bool { return strings.HasPrefix(name, s.topic+"_fanout_") })
	case replyQueue:
		return s.deleteQueue(f.choice, func(name string) bool { return strings.HasPrefix(name, "reply_") })
	case stopApp:
		s.control("stop_app")
		s.control("start_app")
	case killBroker:
		s.node.Kill()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.node.Start(ctx); err != nil {
			s.t.Fatal(err)
		}
	case alarm:
		s.control("set_vm_memory_high_watermark", "0")
		s.wait(f.lasts)
		s.control("set_vm_memory_high_watermark", "0.4")
	default:
		s.t.Fatalf("unknown fault %q", f.kind)
	}
	return "broker"
}

func (s *soak) control(arguments ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := s.node.Control(ctx, arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// deleteQueue deletes one of the queues, as an operator would who has mistaken it
// for another. Queues that come and go may be missing just now.
func (s *soak) deleteQueue(choice uint, which func(string) bool) string {
	s.t.Helper()
	names := slices.DeleteFunc(strings.Fields(s.control("list_queues", "--no-table-headers", "name")), func(name string) bool { return !which(name) })
	if len(names) == 0 {
		return "(none there)"
	}
	slices.Sort(names)
	name := names[choice%uint(len(names))]
	c, err := amqp.Dial(fmt.Sprintf("amqp://guest:guest@%s/", s.node.Address()))
	if err != nil {
		s.t.Fatalf("connecting to delete queue %s: %v", name, err)
	}
	defer func() { _ = c.Close() }()
	ch, err := c.Channel()
	if err == nil {
		_, err = ch.QueueDelete(name, false, false, false)
	}
	if err != nil {
		s.t.Fatalf("deleting queue %s: %v", name, err)
	}
	return name
}
