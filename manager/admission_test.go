// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/rpc"
)

// A project has so many handlers and no more, for what starts operations and for the
// rest; the requests of others, and what comes later, are worked on.
func TestHandlersOfAProject(t *testing.T) {
	t.Parallel()
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := New(Config{RequestsPerProject: 3, Log: log})
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
	close(goOn)
	for range 3 {
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
