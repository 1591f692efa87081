// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriversOfAConfiguration(t *testing.T) {
	t.Parallel()
	drivers, err := Drivers([]string{"messagingv2", "log", "noop", "test"}, nil, MessagingOptions{}, logrus.New())
	if err != nil || len(drivers) != 3 {
		t.Errorf("%d drivers, %v", len(drivers), err)
	}
	if _, err := Drivers([]string{"carrier-pigeon"}, nil, MessagingOptions{}, nil); err == nil {
		t.Error("an unknown driver is made")
	}
}

func TestLogDriver(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetLevel(logrus.DebugLevel)
	n := New("svc.host", Options{}, Log(log))
	for p, level := range map[Priority]string{Debug: "debug", Info: "info", Audit: "info", Warn: "warning", Error: "error", Critical: "error"} {
		out.Reset()
		if err := n.Notify(t.Context(), rpc.Context{"auth_token": []byte(`"s3cret"`)}, p, "plan.create", map[string]int{"size": 3}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"level=" + level, "event_type=plan.create", "publisher_id=svc.host", "size"} {
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "s3cret") {
				t.Errorf("%s: no %q in %s", p, want, out.String())
			}
		}
	}
}

func TestEveryDriverHasItsTurn(t *testing.T) {
	t.Parallel()
	r := &Recorder{}
	n := New("svc.host", Options{}, failing{}, r)
	if err := n.Sample(t.Context(), nil, "e", 1); !errors.Is(err, errFailing) {
		t.Errorf("%v", err)
	}
	if events := r.Events(); len(events) != 1 || events[0].Type != "e" || events[0].Priority != Sample || string(events[0].Payload) != "1" {
		t.Errorf("%+v", events)
	}
	if err := n.Notify(t.Context(), nil, "loud", "e", nil); err == nil {
		t.Error("an unknown priority is sent")
	}
	if err := n.Critical(t.Context(), nil, "e", func() {}); err == nil || len(r.Events()) != 1 {
		t.Errorf("a payload that is no JSON: %v", err)
	}
}

var errFailing = errors.New("always fails")

type failing struct{ Driver }

func (failing) Deliver(_ context.Context, _ *Event) error { return errFailing }
