// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	identity := keystone(t, time.Hour)
	held, release := make(chan struct{}), make(chan struct{})
	cloud := record(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/v2/images/odd":
			w.WriteHeader(799)
		case r.URL.Path == "/v2/images/slow":
			close(held)
			<-release
		default:
			_, _ = io.WriteString(w, `{"images": []}`)
		}
	})
	f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL, MaxCalls: 1}}})
	ctx := requestcontext.New(t.Context(), caller("secret-project"))
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := List[struct{}](ctx, client, "images", "images", nil); err != nil {
		t.Fatal(err)
	}
	_, _ = Show[struct{}](ctx, client, "images", "odd", "")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f.Metrics())
	shown := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Body.String()
	}
	for _, want := range []string{
		`openstack_calls_total{code="200",service="glance"} 1`, `openstack_calls_total{code="503",service="glance"} 1`,
		`openstack_calls_total{code="other",service="glance"} 1`, `openstack_calls_total{code="201",service="keystone"} 1`,
		`openstack_retries_total{code="503",service="glance"} 1`, `openstack_call_duration_seconds_count{service="glance"} 3`,
		`openstack_calls_in_flight{service="glance"} 0`,
	} {
		if text := shown(); !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}

	done := make(chan struct{})
	for _, id := range []string{"slow", "next"} {
		go func() {
			_, _ = Show[struct{}](ctx, client, "images", id, "")
			done <- struct{}{}
		}()
		if id == "slow" {
			<-held
		}
	}
	for !strings.Contains(shown(), `openstack_calls_waiting{service="glance"} 1`) {
		time.Sleep(time.Millisecond) // between two looks
	}
	if text := shown(); !strings.Contains(text, `openstack_calls_in_flight{service="glance"} 1`) {
		t.Errorf("no call is in flight:\n%s", text)
	}
	close(release)
	<-done
	<-done
	text := shown()
	for _, wrong := range []string{`openstack_calls_waiting{service="glance"} 1`, "secret-project", "user", cloud.URL} {
		if strings.Contains(text, wrong) {
			t.Errorf("%q is in\n%s", wrong, text)
		}
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"200": codeOf(&http.Response{StatusCode: 200}, nil), "other": codeOf(&http.Response{StatusCode: 299}, nil),
		"none": codeOf(nil, io.ErrUnexpectedEOF), "abandoned": codeOf(nil, context.Canceled),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
