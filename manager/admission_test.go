// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// office is a manager whose requests a test lets go on one by one.
type office struct {
	m       *Manager
	entered chan string              // the projects of requests that have started
	goOn    map[string]chan struct{} // by project
}

func newOffice(most Handlers) *office {
	log := logrus.New()
	log.SetOutput(io.Discard)
	goOn := map[string]chan struct{}{}
	for _, p := range "abcd" {
		goOn[string(p)] = make(chan struct{})
	}
	return &office{New(Config{Handlers: most, Log: log}), make(chan string, 100), goOn}
}

// ask sends a request and returns where its error will be.
func (o *office) ask(ctx context.Context, delivery rpc.Delivery, r *rpc.Request) <-chan error {
	handler := o.m.handler(func(ctx context.Context, _ *arguments) (any, error) {
		project := requestcontext.From(ctx).ProjectID
		o.entered <- project
		<-o.goOn[project]
		return nil, nil
	}, delivery)
	ended := make(chan error, 1)
	go func() {
		_, err := handler(ctx, r)
		ended <- err
	}()
	return ended
}

// started returns the projects of the requests that have started since it was asked last.
func (o *office) started() string {
	synctest.Wait()
	var projects []string
	for len(o.entered) > 0 {
		projects = append(projects, <-o.entered)
	}
	slices.Sort(projects)
	return strings.Join(projects, "")
}

// Requests beyond the share of their project wait, and start in turn when others end. What
// reads does not wait for what starts operations, and nobody waits for other projects while
// there are handlers. Too many that wait are refused.
func TestHandlersOfAProject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const start, read = rpc.UntilAccepted, rpc.AtMostOnce
		o := newOffice(Handlers{Total: 6, PerProject: 3, Starting: 4, Waiting: 2})
		var ended []<-chan error
		ask := func(delivery rpc.Delivery, projects string) {
			for _, p := range projects {
				ended = append(ended, o.ask(t.Context(), delivery, requestOf(string(p))))
				synctest.Wait()
			}
		}
		expect := func(what, want string) {
			t.Helper()
			if got := o.started(); got != want {
				t.Errorf("%s: %q start, want %q", what, got, want)
			}
		}
		ask(start, "aaaaa")
		expect("five of a project", "aaa")
		if err := <-o.ask(t.Context(), start, requestOf("a")); !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), "as many requests of the project are waiting") {
			t.Errorf("a third one that would wait: %v", err)
		}
		ask(start, "bb")
		expect("two of another project, beside which four may start operations", "b")
		ask(read, "ac")
		expect("requests that read", "ac")
		ask(read, "d")
		expect("a seventh request", "")
		o.goOn["c"] <- struct{}{}
		expect("the first in the line that may start", "d")
		o.goOn["b"] <- struct{}{}
		expect("the next one, when another starts no operation any more", "b")
		for _, c := range o.goOn {
			close(c)
		}
		for _, e := range ended {
			if err := <-e; err != nil {
				t.Error(err)
			}
		}
		expect("the last ones", "aa")
		if a := o.m.admission; len(a.working)+a.total+a.starting+len(a.waiting)+len(a.line) != 0 {
			t.Errorf("left: %+v", a)
		}
	})
}

// A request whose caller gives up while it waits, or whose server stops, does not start.
func TestCallersThatGiveUpWhileTheyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(Handlers{PerProject: 1, Waiting: 5})
		first := o.ask(t.Context(), rpc.UntilAccepted, requestOf("a"))
		if got := o.started(); got != "a" {
			t.Fatal(got)
		}
		late, stopped := requestOf("a"), requestOf("a")
		late.Deadline = time.Now().Add(time.Minute)
		ctx, stop := context.WithCancelCause(t.Context())
		abandoned, cut := o.ask(t.Context(), rpc.UntilAccepted, late), o.ask(ctx, rpc.UntilAccepted, stopped)
		synctest.Wait()
		stop(rpc.ErrStopped)
		for _, c := range []struct {
			ended <-chan error
			want  string
		}{{cut, rpc.ErrStopped.Error()}, {abandoned, rpc.ErrAbandoned.Error()}} {
			if err := <-c.ended; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		}
		close(o.goOn["a"])
		if err := <-first; err != nil {
			t.Error(err)
		}
		if got := o.started(); got != "" {
			t.Errorf("%q start", got)
		}
	})
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
	m := New(Config{Providers: providers.NewRegistry(p), Operations: engine, Handlers: Handlers{PerProject: rpc.DefaultWorkers / 3, Waiting: rpc.DefaultWorkers}, Log: log})
	transport := rpctest.NewBroker().Transport()
	server, err := rpc.NewServer(transport, rpc.Target{Topic: "t", Server: "s"}, m.Endpoints(), rpc.ServerOptions{Failure: Failure, Workers: 4 * rpc.DefaultWorkers})
	if err == nil {
		err = server.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(transport, rpc.Target{Topic: "t", Version: "1.0"}, rpc.ClientOptions{})
	plan := map[string]any{"id": "p", "provider_id": "provider", "resources": []any{map[string]any{"id": "r", "type": "t", "name": "n"}}}
	for range 2 * rpc.DefaultWorkers {
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
