// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// recorder is a service that remembers its requests.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func record(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *recorder {
	t.Helper()
	rec := &recorder{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rec.mu.Lock()
		rec.requests = append(rec.requests, r)
		rec.bodies = append(rec.bodies, string(body))
		n := len(rec.requests)
		rec.mu.Unlock()
		answer(n, w, r)
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// keystone hands out tokens service-1, service-2, ... that live for a while.
func keystone(t *testing.T, life time.Duration) *recorder {
	var mu sync.Mutex
	logins := 0
	return record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == "/v3/auth/tokens":
			mu.Lock()
			logins++
			w.Header().Set("X-Subject-Token", fmt.Sprintf("service-%d", logins))
			mu.Unlock()
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"token": {"expires_at": %q}}`, time.Now().Add(life).UTC().Format("2006-01-02T15:04:05.000000Z"))
		case r.URL.Path == "/v3/services":
			_, _ = io.WriteString(w, `{"services": [
				{"id": "s3", "name": "manila", "type": "share"}, {"id": "s2", "name": "manila", "type": "shared-file-system"},
				{"id": "s1", "name": "cinderv3", "type": "volumev3"}]}`)
		case r.URL.Path == "/v3/endpoints" && r.URL.RawQuery == "interface=internal&region_id=RegionOne&service_id=s1":
			_, _ = io.WriteString(w, `{"endpoints": [{"url": "http://in.example/v3/$(tenant_id)s"}]}`)
		case r.URL.Path == "/v3/endpoints" && r.URL.RawQuery == "interface=internal&region_id=RegionOne&service_id=s2":
			_, _ = io.WriteString(w, `{"endpoints": [{"url": "http://share.example/v2"}]}`)
		case r.URL.Path == "/v3/endpoints" && r.URL.RawQuery == "interface=internal&region_id=RegionOne&service_id=s3":
			_, _ = io.WriteString(w, `{"endpoints": [{"url": "http://share.example/v1/$(tenant_id)s"}]}`)
		default:
			_, _ = io.WriteString(w, `{"endpoints": []}`)
		}
	})
}

func trusteeAt(url string) *IdentityConfig {
	return &IdentityConfig{AuthURL: url, Options: gophercloud.AuthOptions{Username: "karbor", Password: "secret", DomainName: "Default"}}
}

func caller(project string) *requestcontext.RequestContext {
	return &requestcontext.RequestContext{
		ProjectID: project, AuthToken: "user", AuthTokenInfo: json.RawMessage(`{"token":{}}`), RequestID: "req-1",
	}
}

func factory(t *testing.T, cfg Config) *Factory {
	t.Helper()
	f := New(cfg, nil)
	f.retry.sleep = func(context.Context, time.Duration) error { return nil }
	t.Cleanup(f.Close)
	return f
}

func TestHeadersOfACall(t *testing.T) {
	t.Parallel()
	identity := keystone(t, time.Hour)
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"volume": {}}`) })
	f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"cinder": {Endpoint: cloud.URL + "/v3"}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.BlockStorage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Show[struct{}](ctx, client, "volumes", "v 1", "volume"); err != nil {
		t.Fatal(err)
	}
	r := cloud.requests[0]
	if r.URL.EscapedPath() != "/v3/p/volumes/v%201" {
		t.Errorf("path is %s", r.URL.EscapedPath())
	}
	for name, want := range map[string]string{
		"X-Auth-Token":           "user",
		"X-Service-Token":        "service-1",
		"X-Openstack-Request-Id": "req-1",
		"Openstack-Api-Version":  "volume 3.43",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if !strings.HasPrefix(r.Header.Get("User-Agent"), UserAgent+" ") {
		t.Errorf("user agent is %q", r.Header.Get("User-Agent"))
	}
}

// Each service has its own way to be asked for a microversion.
func TestMicroversions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		client func(*Factory, context.Context) (*gophercloud.ServiceClient, error)
		cfg    ServiceConfig
		want   map[string]string
	}{
		"cinder, by default": {(*Factory).BlockStorage, ServiceConfig{}, map[string]string{"Openstack-Api-Version": "volume 3.43"}},
		"cinder":             {(*Factory).BlockStorage, ServiceConfig{Microversion: "3.60"}, map[string]string{"Openstack-Api-Version": "volume 3.60"}},
		"manila, by default": {(*Factory).Share, ServiceConfig{}, map[string]string{"X-Openstack-Manila-Api-Version": "2.0"}},
		"manila":             {(*Factory).Share, ServiceConfig{Microversion: "2.51"}, map[string]string{"X-Openstack-Manila-Api-Version": "2.51"}},
		"nova, by default":   {(*Factory).Compute, ServiceConfig{}, map[string]string{"X-Openstack-Nova-Api-Version": "", "Openstack-Api-Version": ""}},
		"nova":               {(*Factory).Compute, ServiceConfig{Microversion: "2.60"}, map[string]string{"X-Openstack-Nova-Api-Version": "2.60", "Openstack-Api-Version": "compute 2.60"}},
		"glance has none":    {(*Factory).Image, ServiceConfig{}, map[string]string{"Openstack-Api-Version": ""}},
		"neutron has none":   {(*Factory).Network, ServiceConfig{}, map[string]string{"Openstack-Api-Version": ""}},
		"trove has none":     {(*Factory).Database, ServiceConfig{}, map[string]string{"Openstack-Api-Version": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
			tc.cfg.Endpoint = cloud.URL
			cfg := Config{Services: map[string]ServiceConfig{}}
			for _, s := range services {
				cfg.Services[s.name] = tc.cfg
			}
			f := factory(t, cfg)
			ctx := requestcontext.New(t.Context(), caller("p"))
			client, err := tc.client(f, ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Get(ctx, client.ServiceURL("things"), nil, nil); err != nil {
				t.Fatal(err)
			}
			for header, want := range tc.want {
				if got := cloud.requests[0].Header.Get(header); got != want {
					t.Errorf("%s is %q, not %q", header, got, want)
				}
			}
		})
	}
}

func TestFreezerGetsNoServiceToken(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	f := factory(t, Config{Trustee: trusteeAt("http://127.0.0.1:1"), Services: map[string]ServiceConfig{"freezer": {Endpoint: cloud.URL}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.Backup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, client.ServiceURL("v1", "jobs"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := cloud.requests[0].Header.Get("X-Service-Token"); got != "" {
		t.Errorf("service token %q", got)
	}
}

func TestWithoutASession(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"images": []}`) })
	f := factory(t, Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}, "nova": {Endpoint: cloud.URL}}})
	noauth := caller("p")
	noauth.AuthTokenInfo = nil
	ctx := requestcontext.New(t.Context(), noauth)
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := List[struct{}](ctx, client, "images", "images", nil); err != nil {
		t.Fatal(err)
	}
	if r := cloud.requests[0]; r.URL.Path != "/v2/images" || r.Header.Get("X-Auth-Token") != "user" {
		t.Errorf("got %s with token %q", r.URL.Path, r.Header.Get("X-Auth-Token"))
	}
	_, err = f.Compute(ctx)
	if err == nil || err.Error() != "The parameter session is None." || !fault.Is(err, "InvalidParameterValue") {
		t.Errorf("nova without a session: %v", err)
	}
}

func TestServiceTokenIsRenewed(t *testing.T) {
	t.Parallel()
	identity := keystone(t, time.Hour)
	cloud := record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Service-Token") == "service-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"images": []}`)
	})
	f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := List[struct{}](ctx, client, "images", "images", nil); err != nil {
		t.Fatal(err)
	}
	if cloud.count() != 2 || identity.count() != 2 {
		t.Errorf("%d calls and %d logins", cloud.count(), identity.count())
	}
}

// However many calls are refused because of one token, there is one login for it.
func TestRefusedServiceTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	const calls = 20
	identity := keystone(t, time.Hour)
	var all sync.WaitGroup
	all.Add(calls)
	cloud := record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Service-Token") == "service-1" {
			all.Done()
			all.Wait() // until each has been refused
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"images": []}`)
	})
	f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}})
	var group sync.WaitGroup
	for i := range calls {
		group.Go(func() {
			ctx := requestcontext.New(t.Context(), caller(fmt.Sprint("p", i%3)))
			client, err := f.Image(ctx)
			if err == nil {
				_, err = List[struct{}](ctx, client, "images", "images", nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := identity.count(); n != 2 {
		t.Errorf("%d logins", n)
	}
}

func TestServiceTokenExpires(t *testing.T) {
	t.Parallel()
	identity := keystone(t, time.Hour)
	i := newIdentity(*trusteeAt(identity.URL), func() (http.RoundTripper, error) { return http.DefaultTransport, nil }, logrus.New())
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	now := time.Now()
	i.now = func() time.Time { return now }
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if token, err := i.Token(t.Context(), ""); err != nil || token != "service-1" {
				t.Errorf("token %q, %v", token, err)
			}
		})
	}
	wg.Wait()
	now = now.Add(time.Hour - renewBefore/2)
	if token, err := i.Token(t.Context(), ""); err != nil || token != "service-2" {
		t.Errorf("near its end: token %q, %v", token, err)
	}
	if identity.count() != 2 {
		t.Errorf("%d logins", identity.count())
	}
}

func TestLoginSurvivesABusyKeystone(t *testing.T) {
	t.Parallel()
	busy := record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Subject-Token", "service-1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"token": {"expires_at": "2999-01-01T00:00:00.000000Z"}}`)
	})
	f := factory(t, Config{Trustee: trusteeAt(busy.URL)})
	if token, err := f.identity.Token(t.Context(), ""); err != nil || token == "" {
		t.Errorf("token %q, %v", token, err)
	}
	if busy.count() != 2 || !strings.Contains(busy.bodies[1], "karbor") {
		t.Errorf("%d logins", busy.count())
	}
}

func TestLoginFailureIsOneClearError(t *testing.T) {
	t.Parallel()
	identity := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) {})
	f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = List[struct{}](ctx, client, "images", "images", nil)
	if !fault.Is(err, "AuthorizationFailure") || Reason(err) != "Authorization for trustee is failed " {
		t.Errorf("got %v", err)
	}
	if strings.Contains(fault.Detail(err), "secret") {
		t.Errorf("the password is in %s", fault.Detail(err))
	}
	if cloud.count() != 0 {
		t.Error("the call was made without a service token")
	}
}

func TestExpiredUserToken(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	f := factory(t, Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = List[struct{}](ctx, client, "images", "images", nil)
	if !fault.Is(err, "AuthorizationFailure") || !gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		t.Errorf("got %v", err)
	}
	if got, want := Reason(err), "Authorization for the token of the request at glance is failed "; got != want {
		t.Errorf("reason is %q, not %q", got, want)
	}
	if cloud.count() != 1 {
		t.Errorf("%d calls", cloud.count())
	}
}

func TestTrustInServers(t *testing.T) {
	t.Parallel()
	cloud := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"images": []}`) }))
	t.Cleanup(cloud.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cloud.Certificate().Raw})
	if err := os.WriteFile(file, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg ServiceConfig
		ok  bool
	}{
		"system":   {ServiceConfig{Endpoint: cloud.URL}, false},
		"bundle":   {ServiceConfig{Endpoint: cloud.URL, CAFile: file}, true},
		"insecure": {ServiceConfig{Endpoint: cloud.URL, CAFile: "/nowhere", Insecure: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := factory(t, Config{Services: map[string]ServiceConfig{"glance": tc.cfg}})
			client, err := f.Image(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := List[struct{}](t.Context(), client, "images", "images", nil); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	f := factory(t, Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL, CAFile: "/nowhere"}}})
	if _, err := f.Image(t.Context()); !fault.Is(err, "KarborException") {
		t.Errorf("missing bundle: %v", err)
	}
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	f := New(Config{Services: map[string]ServiceConfig{"glance": {Endpoint: "http://127.0.0.1:1"}}}, nil)
	defer f.Close()
	calls := 0
	cut := f.Wrapped(func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) { calls++; return nil, gone })
	})
	client, err := cut.Image(requestcontext.New(t.Context(), &requestcontext.RequestContext{AuthToken: "t"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), client.ServiceURL("images"), nil, nil); !errors.Is(err, gone) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// A user without a default project gets a token of no project when none is asked for;
// then that of [keystone_authtoken] is, if the user has a role in it.
func TestLoginWithoutAProject(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		inDefault bool // the user has a default project
		refused   bool // in that of the middleware
		want      string
		logins    int
	}{
		"default project":           {inDefault: true, want: "unscoped-1", logins: 1},
		"project of the middleware": {want: "scoped-2", logins: 2},
		"no role in it":             {refused: true, want: "unscoped-1", logins: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var server *recorder
			server = record(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				kind, project := "unscoped", ""
				if strings.Contains(server.bodies[n-1], `"scope"`) {
					kind = "scoped"
				}
				switch {
				case kind == "scoped" && tc.refused:
					w.WriteHeader(http.StatusUnauthorized)
					return
				case kind == "scoped", tc.inDefault:
					project = `, "project": {"id": "p", "name": "service", "domain": {"id": "default", "name": "Default"}}`
				}
				w.Header().Set("X-Subject-Token", fmt.Sprintf("%s-%d", kind, n))
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, `{"token": {"expires_at": "2999-01-01T00:00:00.000000Z"`+project+`}}`)
			})
			cfg := trusteeAt(server.URL)
			cfg.Project = &gophercloud.AuthScope{ProjectName: "service", DomainName: "Default"}
			f := factory(t, Config{Trustee: cfg})
			if token, err := f.identity.Token(t.Context(), ""); err != nil || token != tc.want {
				t.Errorf("token %q, %v", token, err)
			}
			if n := server.count(); n != tc.logins {
				t.Errorf("%d logins", n)
			}
		})
	}
}
