// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/rpc"
)

func (l *lab) client(o rpc.ClientOptions, options ...string) *rpc.Client {
	o.Timeout = soon
	return rpc.NewClient(l.transport(options...), rpc.Target{Topic: l.topic}, o)
}

func TestChecklist37_GoClientCallsPythonServer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clean(l.topic, l.topic+".py.one")
	server := l.start("server.py", l.url, l.topic, "py.one")
	c := l.client(rpc.ClientOptions{})
	rc := rpc.Context{"user_id": json.RawMessage(`"u"`)}
	var got struct {
		Ctxt map[string]any
		KW   map[string]json.Number
	}
	if err := c.Call(l.ctx, rc, "echo", map[string]any{"n": json.Number("9007199254740993")}, &got); err != nil {
		t.Fatal(err)
	}
	if got.KW["n"] != "9007199254740993" || got.Ctxt["user_id"] != "u" {
		t.Errorf("%+v", got)
	}
	none := any("untouched")
	if err := c.Prepare(func(to *rpc.Target) { to.Server = "py.one" }).Call(l.ctx, nil, "none", nil, &none); err != nil || none != "untouched" {
		t.Errorf("%v, %v", none, err)
	}
	var n int
	backup := c.Prepare(func(to *rpc.Target) { to.Namespace, to.Version = "backup", "2.0" })
	if err := backup.Call(l.ctx, nil, "run", map[string]any{"x": 21}, &n); err != nil || n != 42 {
		t.Errorf("%d, %v", n, err)
	}
	for _, row := range []struct {
		method string
		args   map[string]any
		want   rpc.Failure
	}{
		{"fail", map[string]any{"msg": "bad"}, rpc.Failure{Class: "ValueError", Module: "builtins", Message: "bad", Args: []any{"bad"}, Kwargs: map[string]any{}}},
		{"failmy", nil, rpc.Failure{Class: "MyErr", Module: "common", Message: "custom failure", Args: []any{"custom failure"},
			Kwargs: map[string]any{"code": json.Number("418"), "extra": "e"}}},
		{"nosuch", nil, rpc.Failure{Class: "NoSuchMethod", Module: "oslo_messaging.rpc.dispatcher", Message: "Endpoint does not support RPC method nosuch",
			Args: []any{"Endpoint does not support RPC method nosuch"}, Kwargs: map[string]any{}}},
	} {
		err := c.Call(l.ctx, nil, row.method, row.args, nil)
		var f *rpc.Failure
		if !errors.As(err, &f) {
			t.Errorf("%s: %v", row.method, err)
			continue
		}
		if len(f.Traceback) == 0 {
			t.Errorf("%s: no traceback", row.method)
		}
		f.Traceback = nil
		if diff := cmp.Diff(&row.want, f); diff != "" {
			t.Errorf("%s: %s", row.method, diff)
		}
	}
	for _, cast := range []*rpc.Client{c, c.Prepare(func(to *rpc.Target) { to.Server = "py.one" }), c.Prepare(func(to *rpc.Target) { to.Fanout = true })} {
		if err := cast.Cast(l.ctx, nil, "note", map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		var note map[string]any
		server.read(&note)
		if diff := cmp.Diff(map[string]any{"note": map[string]any{"a": 1.0}, "server": "py.one"}, note); diff != "" {
			t.Error(diff)
		}
	}
}

func TestChecklist41_PythonServerIsMonitored(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clean(l.topic, l.topic+".one")
	server := l.start("server.py", l.url, l.topic, "one")
	// A busy machine lets the server's heartbeats, of which there are two in that time, come late.
	c := l.client(rpc.ClientOptions{CallMonitorTimeout: 10 * time.Second})
	var text string
	if err := c.Call(l.ctx, nil, "slow", map[string]any{"secs": 12}, &text); err != nil || text != "done" {
		t.Errorf("%q, %v", text, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Call(l.ctx, nil, "slow", map[string]any{"secs": 200}, nil) }()
	time.Sleep(1500 * time.Millisecond)
	_ = server.cmd.Process.Kill()
	select {
	case err := <-ended:
		if !errors.Is(err, rpc.ErrTimeout) {
			t.Errorf("error is %v", err)
		}
	case <-time.After(soon):
		t.Error("the call outlives its server")
	}
}

func TestChecklist09_PythonAndGoServersSideBySide(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"default":     nil,
		"durable":     {"amqp_durable_queues=true"},
		"auto delete": {"amqp_auto_delete=true"},
		"quorum":      {"rabbit_quorum_queue=true", "rabbit_quorum_delivery_limit=5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			sideBySide(t, l, options)
		})
	}
}

// sideBySide lets a server of each language take calls of one topic.
func sideBySide(t *testing.T, l *lab, options []string) {
	exchange := "x" + l.topic
	l.clean(l.topic, l.topic+".python", l.topic+".go")
	url := l.url
	who := func(context.Context, *rpc.Request) (any, error) { return "go", nil }
	l.start("server.py", append([]string{url, l.topic, "python", "control_exchange=" + exchange}, options...)...)
	s, err := rpc.NewServer(l.transport(options...), rpc.Target{Exchange: exchange, Topic: l.topic, Server: "go"},
		[]rpc.Endpoint{{Version: "1.5", Methods: map[string]rpc.Method{"who": {Handler: who}}}}, rpc.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(l.ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c := rpc.NewClient(l.transport(options...), rpc.Target{Exchange: exchange, Topic: l.topic}, rpc.ClientOptions{Timeout: soon})
	count := map[string]int{}
	for range 20 {
		var name string
		if err := c.Call(l.ctx, nil, "who", nil, &name); err != nil {
			t.Fatal(err)
		}
		count[name]++
	}
	// The broker takes turns.
	if count["go"] == 0 || count["python"] == 0 || count["go"]+count["python"] != 20 {
		t.Errorf("answers: %v", count)
	}
}
