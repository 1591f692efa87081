// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/metrics"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// page is what Prometheus reads.
func page(m *metrics.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestRequestsByMethodAndOutcome(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	abandoned, cancel := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), rpc.ErrAbandoned)
	defer cancel()
	handle := func(ctx context.Context, h rpc.Handler) {
		defer func() { _ = recover() }()
		_, _ = m.Middleware()(h)(ctx, &rpc.Request{Method: "m"})
	}
	fail := func(context.Context, *rpc.Request) (any, error) { return nil, errors.New("no") }
	handle(t.Context(), func(context.Context, *rpc.Request) (any, error) {
		wantLines(t, page(m), "rpc_requests_in_flight 1")
		return nil, nil
	})
	handle(t.Context(), fail)
	handle(t.Context(), func(context.Context, *rpc.Request) (any, error) { panic("oh") })
	handle(t.Context(), func(context.Context, *rpc.Request) (any, error) { return nil, &rpc.PanicError{Value: "oh"} })
	handle(abandoned, fail)
	wantLines(t, page(m),
		`rpc_requests_total{method="m",outcome="success"} 1`,
		`rpc_requests_total{method="m",outcome="failure"} 1`,
		`rpc_requests_total{method="m",outcome="panic"} 2`,
		`rpc_requests_total{method="m",outcome="abandoned"} 1`,
		`rpc_request_duration_seconds_count{method="m"} 5`,
		`rpc_requests_in_flight 0`,
	)
}

type source rabbit.Stats

func (s source) Stats() rabbit.Stats { return rabbit.Stats(s) }

func TestStateOfATransport(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	if err := m.Watch(source{
		Consume:   rabbit.LinkStats{Connected: true, Connections: 3},
		Publish:   rabbit.LinkStats{Blocked: true, BlockedTime: 1500 * time.Millisecond},
		Consuming: true, Undeliverable: 7,
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Watch(source{}); err == nil {
		t.Error("a second transport is taken")
	}
	wantLines(t, page(m),
		`rpc_connected{link="consume"} 1`, `rpc_connected{link="publish"} 0`,
		`rpc_reconnects_total{link="consume"} 2`, `rpc_reconnects_total{link="publish"} 0`,
		`rpc_blocked{link="publish"} 1`, `rpc_blocked_seconds_total{link="publish"} 1.5`,
		`rpc_consuming 1`, `rpc_undeliverable_replies_total 7`,
	)
}

// broken is a transport that cannot tell its state.
type broken struct{}

func (broken) Stats() rabbit.Stats { panic("no state") }

func TestStateThatBreaks(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	if err := m.Watch(broken{}); err != nil {
		t.Fatal(err)
	}
	if text := page(m); !strings.Contains(text, "panic: no state") {
		t.Error(text)
	}
}
