// SPDX-License-Identifier: Apache-2.0

package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/middleware"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecoveryMakesErrorsOfPanics(t *testing.T) {
	t.Parallel()
	h := middleware.Recovery()(func(context.Context, *rpc.Request) (any, error) { panic("oh") })
	_, err := h(t.Context(), &rpc.Request{})
	var p *rpc.PanicError
	if !errors.As(err, &p) || p.Value != "oh" || !bytes.Contains(p.Stack, []byte("middleware_test")) {
		t.Errorf("%v", err)
	}
}

func TestLoggingTellsHowARequestEnded(t *testing.T) {
	t.Parallel()
	abandoned, cancel := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), rpc.ErrAbandoned)
	defer cancel()
	r := &rpc.Request{
		Method: "protect", UniqueID: "u1", Args: map[string]json.RawMessage{"password": []byte(`"s3cret"`)},
		Context: rpc.Context{"request_id": []byte(`"req-1"`), "auth_token": []byte(`"s3cret"`)},
	}
	for _, row := range []struct {
		name  string
		ctx   context.Context
		err   error
		level string
		text  string
	}{
		{"fine", t.Context(), nil, "debug", "request answered"},
		{"failed", t.Context(), errors.New("no space"), "warning", "no space"},
		{"late", abandoned, context.DeadlineExceeded, "warning", "no longer waits"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := logrus.New()
			log.SetOutput(&out)
			log.SetLevel(logrus.DebugLevel)
			h := middleware.Logging(log)(func(context.Context, *rpc.Request) (any, error) { return "s3cret", row.err })
			if result, err := h(row.ctx, r); result != "s3cret" || !errors.Is(err, row.err) {
				t.Errorf("%v, %v", result, err)
			}
			for _, want := range []string{"level=" + row.level, row.text, "method=protect", "request_id=req-1", "unique_id=u1", "duration="} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("log has no %q: %s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "s3cret") {
				t.Errorf("log shows a secret: %s", out.String())
			}
		})
	}
}

// A trace goes through a service that does not trace itself: client, first server,
// second server.
func TestPassthroughKeepsTracesTogether(t *testing.T) {
	t.Parallel()
	transport := rpctest.NewBroker().Transport()
	t.Cleanup(func() { _ = transport.Close(context.Background()) })
	tracer := middleware.Passthrough{}
	next := rpc.NewClient(transport, rpc.Target{Topic: "second"}, rpc.ClientOptions{Headers: tracer.Inject})
	got := make(chan map[string]string, 1)
	for topic, handler := range map[string]rpc.Handler{
		"first": func(ctx context.Context, _ *rpc.Request) (any, error) {
			return nil, next.Call(ctx, nil, "m", nil, nil)
		},
		"second": func(_ context.Context, r *rpc.Request) (any, error) { got <- r.Headers; return nil, nil },
	} {
		s, err := rpc.NewServer(transport, rpc.Target{Topic: topic, Server: "s"},
			[]rpc.Endpoint{{Methods: map[string]rpc.Method{"m": {Handler: handler}}}},
			rpc.ServerOptions{Middleware: []rpc.Middleware{middleware.Tracing(tracer)}})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop(context.Background()) })
	}
	sent := map[string]string{"traceparent": "00-1-2-01", "tracestate": "a=b", "other": "x"}
	c := rpc.NewClient(transport, rpc.Target{Topic: "first"}, rpc.ClientOptions{Headers: func(context.Context) map[string]string { return sent }})
	if err := c.Call(t.Context(), nil, "m", nil, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"traceparent": "00-1-2-01", "tracestate": "a=b"}, <-got); diff != "" {
		t.Error(diff)
	}
}

// spans is a tracer that remembers what has ended.
type spans struct{ ended []string }

func (s *spans) Start(ctx context.Context, method string, headers map[string]string) (context.Context, func(error)) {
	return ctx, func(err error) {
		text := method + " of " + headers["traceparent"]
		if err != nil {
			text += ": " + err.Error()
		}
		s.ended = append(s.ended, text)
	}
}

func (s *spans) Inject(context.Context) map[string]string { return nil }

func TestTracingEndsSpans(t *testing.T) {
	t.Parallel()
	s := &spans{}
	h := middleware.Tracing(s)(func(context.Context, *rpc.Request) (any, error) { return nil, errors.New("no") })
	if _, err := h(t.Context(), &rpc.Request{Method: "m", Headers: map[string]string{"traceparent": "p"}}); err == nil {
		t.Error("the error is lost")
	}
	if diff := cmp.Diff([]string{"m of p: no"}, s.ended); diff != "" {
		t.Error(diff)
	}
}
