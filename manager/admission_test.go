// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// A project has so many handlers and no more, for what starts operations and for the
// rest; the requests of others, and what comes later, are worked on.
func TestHandlersOfAProject(t *testing.T) {
	t.Parallel()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Config{Handlers: Handlers{PerProject: 3, Starting: 4}, Log: log})
	entered, goOn := make(chan struct{}), make(chan struct{})
	slow := m.handler(func(context.Context, *arguments) (any, error) {
		entered <- struct{}{}
		<-goOn
		return "done", nil
	}, rpc.UntilAccepted)
	quick := func(delivery rpc.Delivery, project string) error {
		_, err := m.handler(func(context.Context, *arguments) (any, error) { return nil, nil }, delivery)(t.Context(), requestOf(project))
		return err
	}
	ended := make(chan error)
	for range 3 {
		go func() {
			_, err := slow(context.Background(), requestOf("a"))
			ended <- err
		}()
		<-entered
	}
	if err := quick(rpc.UntilAccepted, "a"); !fault.Is(err, "InvalidInput") {
		t.Errorf("a fourth one of the project: %v", err)
	}
	for name, err := range map[string]error{
		"a reading one of the project": quick(rpc.AtMostOnce, "a"),
		"one of another project":       quick(rpc.UntilAccepted, "b"),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	go func() {
		_, err := slow(context.Background(), requestOf("b"))
		ended <- err
	}()
	<-entered
	if err := quick(rpc.UntilAccepted, "c"); !fault.Is(err, "InvalidInput") {
		t.Errorf("a fifth one that starts an operation: %v", err)
	}
	if err := quick(rpc.AtMostOnce, "c"); err != nil {
		t.Errorf("one that reads beside four that start operations: %v", err)
	}
	close(goOn)
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := quick(rpc.UntilAccepted, "a"); err != nil {
		t.Errorf("one that comes later: %v", err)
	}
	if len(m.admission.working) != 0 {
		t.Errorf("left: %v", m.admission.working)
	}
}

func requestOf(project string) *rpc.Request {
	return &rpc.Request{Method: "m", Context: rpc.Context{"project_id": json.RawMessage(`"` + project + `"`)}}
}

// blocked finds nothing until it is let go on.
type blocked struct{ goOn chan struct{} }

func (b blocked) Graph(context.Context, []resource.Resource, func(resource.Resource) bool) (*resource.Graph, []remark.Remark, error) {
	<-b.goOn
	return &resource.Graph{}, nil, nil
}

// While one project has cast as many slow requests as the server has handlers, and
// more, another one is answered.
func TestAnotherProjectIsAnsweredUnderALoad(t *testing.T) {
	t.Parallel()
	log := logrus.New()
	log.SetOutput(io.Discard)
	p, err := providers.New(providers.Definition{ID: "provider", Plugins: []protection.Plugin{noop.New()}, Bank: bank.New(banktest.NewMemory(), nil)})
	if err != nil {
		t.Fatal(err)
	}
	slow := blocked{make(chan struct{})}
	engine := operation.New(operation.Config{Protectables: slow, Journal: journaltest.NewMemory(nil), Records: noRecords{}, Log: log})
	m := New(Config{Providers: providers.NewRegistry(p), Operations: engine, Handlers: Handlers{PerProject: rpc.DefaultWorkers / 3}, Log: log})
	transport := rpctest.NewBroker().Transport()
	server, err := rpc.NewServer(transport, rpc.Target{Topic: "t", Server: "s"}, m.Endpoints(), rpc.ServerOptions{Failure: Failure})
	if err == nil {
		err = server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(transport, rpc.Target{Topic: "t", Version: "1.0"}, rpc.ClientOptions{})
	plan := map[string]any{"id": "p", "provider_id": "provider", "resources": []any{map[string]any{"id": "r", "type": "t", "name": "n"}}}
	for range rpc.DefaultWorkers + 6 {
		if err := client.Cast(t.Context(), requestOf("a").Context, "protect", map[string]any{"plan": plan}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		var list []json.RawMessage
		if err := client.Call(t.Context(), requestOf("b").Context, "list_providers", nil, &list); err != nil || len(list) != 1 {
			t.Errorf("another project: %s, %v", list, err)
		}
	}
	close(slow.goOn)
	ctx := context.Background()
	if err := errors.Join(server.Stop(ctx), transport.Close(ctx)); err != nil {
		t.Error(err)
	}
	engine.Stop(ctx)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
