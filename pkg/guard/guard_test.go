// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var errOver = errors.New("the tenure is over")

func TestAllowed(t *testing.T) {
	t.Parallel()
	var inner, outer error
	ctx, cancel := context.WithCancel(With(With(t.Context(), func() error { return outer }), nil))
	cancel()
	ctx = With(context.WithoutCancel(ctx), func() error { return inner })
	sticky := Sticky(ctx)
	for _, guard := range []*error{&inner, &outer} {
		if err := Allowed(ctx); err != nil {
			t.Error(err)
		}
		*guard = errOver
		if err := Allowed(ctx); !errors.Is(err, errOver) {
			t.Errorf("got %v", err)
		}
		*guard = nil
	}
	if err := Allowed(sticky); err != nil {
		t.Error(err)
	}
	inner = errOver
	first := Allowed(sticky)
	inner = nil
	if second := Allowed(sticky); !errors.Is(first, errOver) || !errors.Is(second, errOver) {
		t.Errorf("got %v, then %v", first, second)
	}
	if err := Allowed(t.Context()); err != nil {
		t.Error(err)
	}
}

// service counts the requests that it got whole.
type service struct {
	*httptest.Server
	client *http.Client
	got    atomic.Int64
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			s.got.Add(1)
		}
	}))
	pool := &http.Transport{}
	s.client = &http.Client{Transport: Transport(pool)}
	t.Cleanup(func() {
		pool.CloseIdleConnections()
		s.Close()
	})
	return s
}

func (s *service) call(ctx context.Context, method string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL, body)
	if err != nil {
		return err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.Body.Close()
}

// The right ends at each moment at which somebody asks for it: what is refused does
// not come to the service, be the connection new or kept.
func TestTransport(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func() io.Reader{
		"without a body": func() io.Reader { return nil },
		"with a body":    func() io.Reader { return strings.NewReader(strings.Repeat("x", 100_000)) },
		"with a stream":  func() io.Reader { return struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 100_000))} },
	} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			t.Run(method+" "+name, func(t *testing.T) {
				t.Parallel()
				s, refused := newService(t), 0
				for n := int64(1); ; n++ {
					var asked atomic.Int64
					ctx := With(t.Context(), func() error {
						if asked.Add(1) == n {
							return errOver // and then no more, which changes nothing
						}
						return nil
					})
					err := s.call(ctx, method, body())
					if err == nil {
						break
					}
					refused++
					if !errors.Is(err, errOver) || !errors.As(err, new(*RefusedError)) || s.got.Load() != 0 {
						t.Fatalf("refused at the ask %d: %v, %d requests came", n, err, s.got.Load())
					}
					if n%2 == 0 { // leave a connection for the next one
						if err := s.call(t.Context(), http.MethodPost, nil); err != nil {
							t.Fatal(err)
						}
						s.got.Store(0)
					}
				}
				if refused < 2 || s.got.Load() != 1 {
					t.Errorf("refused %d times, then %d requests came", refused, s.got.Load())
				}
			})
		}
	}
}

// Requests that change nothing, and those of who has no guards, are sent as they are.
func TestTransportLetsPass(t *testing.T) {
	t.Parallel()
	s := newService(t)
	over := With(t.Context(), func() error { return errOver })
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		if err := s.call(over, method, nil); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	if err := s.call(t.Context(), http.MethodPost, strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if s.got.Load() != 4 {
		t.Errorf("%d requests came", s.got.Load())
	}
}
