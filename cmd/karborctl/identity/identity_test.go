// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func environment(pairs ...string) func(string) string {
	values := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options Options
		want    requestcontext.RequestContext
	}{
		"nothing given": {Options{Getenv: environment()},
			requestcontext.RequestContext{UserID: Anonymous, ProjectID: Anonymous, Roles: []string{"member"}}},
		"flags": {Options{Project: "p", User: "u", Admin: true, Getenv: environment()},
			requestcontext.RequestContext{UserID: "u", ProjectID: "p", IsAdmin: true, Roles: []string{"admin"}}},
		"variables put aside": {Options{Getenv: environment("OS_AUTH_TYPE", "none", "OS_AUTH_URL", "http://x")},
			requestcontext.RequestContext{UserID: Anonymous, ProjectID: Anonymous, Roles: []string{"member"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Resolve(t.Context(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(got.RequestID, "req-") {
				t.Errorf("request id %q", got.RequestID)
			}
			got.RequestID = ""
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"two identities": {Admin: true, Getenv: environment("OS_AUTH_URL", "http://x", "OS_PASSWORD", "hush")},
		"no such cloud":  {Cloud: "nosuch", Getenv: environment()},
	} {
		if _, err := Resolve(t.Context(), o); !errors.As(err, new(Mistake)) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoginIsNotRedirected has a Keystone that sends the password on to somebody else.
func TestLoginIsNotRedirected(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int64
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	t.Cleanup(stranger.Close)
	keystone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(keystone.Close)
	_, err := Resolve(t.Context(), Options{Getenv: environment("OS_AUTH_URL", keystone.URL+"/v3", "OS_USERNAME", "demo",
		"OS_PASSWORD", "hush", "OS_PROJECT_NAME", "demo", "OS_USER_DOMAIN_NAME", "Default", "OS_PROJECT_DOMAIN_NAME", "Default")})
	if err == nil || !strings.Contains(err.Error(), "which is not followed") || stolen.Load() != 0 {
		t.Errorf("%d requests went on, error %v", stolen.Load(), err)
	}
}

// The OS_* variables end in the options of a login as those of clouds.yaml do.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	o := Options{Getenv: environment("OS_AUTH_URL", "http://k/v3", "OS_USERNAME", "demo", "OS_PASSWORD", "p: {", "OS_PROJECT_NAME", "demo",
		"OS_USER_DOMAIN_NAME", "Users", "OS_INSECURE", "true")}
	e, err := o.chosen()
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.credentials(o)
	if err != nil {
		t.Fatal(err)
	}
	a := got.auth
	if a.IdentityEndpoint != "http://k/v3" || a.Username != "demo" || a.Password != "p: {" || a.DomainName != "Users" || a.DomainID != "" {
		t.Errorf("login: %+v", a)
	}
	if a.Scope == nil || a.Scope.ProjectName != "demo" || a.Scope.DomainID != "default" {
		t.Errorf("scope: %+v", a.Scope)
	}
	if !got.tls.InsecureSkipVerify {
		t.Error("OS_INSECURE is not heeded")
	}
}

const answer = `{"token": {"user": {"id": "u1", "name": "demo", "domain": {"id": "default", "name": "Default"}},
"project": {"id": "p1", "name": "proj", "domain": {"id": "default", "name": "Default"}}, "roles": [{"id": "r", "name": "Admin"}],
"expires_at": "2030-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z", "methods": ["password"],
"catalog": [{"type": "image", "name": "glance", "id": "s", "endpoints": [
 {"id": "1", "interface": "public", "region": "R1", "region_id": "R1", "url": "http://i/1"},
 {"id": "2", "interface": "public", "region": "R2", "region_id": "R2", "url": "http://i/2"},
 {"id": "3", "interface": "internal", "region": "R1", "region_id": "R1", "url": "http://i/3"},
 {"id": "4", "interface": "admin", "region": "R2", "region_id": "R2", "url": "http://i/4"}]}]}}`

// keystone answers logins with a status and a body.
func keystone(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", "secret-token")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/v3"
}

func login(ctx context.Context, url string) (*requestcontext.RequestContext, error) {
	return Resolve(ctx, Options{Getenv: environment("OS_AUTH_URL", url, "OS_USERNAME", "demo", "OS_PASSWORD", "hush", "OS_PROJECT_NAME", "proj")})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	got, err := login(t.Context(), keystone(t, http.StatusCreated, answer))
	if err != nil {
		t.Fatal(err)
	}
	var info map[string]any
	if err := json.Unmarshal(got.AuthTokenInfo, &info); err != nil || info["token"] == nil {
		t.Errorf("token info: %v, %s", err, got.AuthTokenInfo)
	}
	got.AuthTokenInfo, got.RequestID = nil, ""
	want := &requestcontext.RequestContext{
		UserID: "u1", ProjectID: "p1", ProjectName: "proj", AuthToken: "secret-token", IsAdmin: true, Roles: []string{"Admin"},
		ServiceCatalog: []requestcontext.Service{{Type: "image", Name: "glance", Endpoints: []requestcontext.Endpoint{
			{PublicURL: "http://i/1", InternalURL: "http://i/3", Region: "R1"},
			{PublicURL: "http://i/2", AdminURL: "http://i/4", Region: "R2"},
		}}},
		Extra: map[string]json.RawMessage{"user_name": json.RawMessage(`"demo"`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoginFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"refused":    {http.StatusUnauthorized, `{"error": {"message": "hush"}}`, "Keystone refuses the credentials (401)"},
		"broken":     {http.StatusBadGateway, "<html>hush</html>", "answers 502 Bad Gateway"},
		"no project": {http.StatusCreated, strings.Replace(answer, `"project": {"id": "p1"`, `"other": {"id": "p1"`, 1), "the credentials name no project"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := login(t.Context(), keystone(t, c.status, c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestRealKeystone(t *testing.T) {
	t.Parallel()
	url := os.Getenv("KARBOR_TEST_KEYSTONE")
	if url == "" {
		t.Skip("KARBOR_TEST_KEYSTONE is not set: no real Keystone to log in to")
	}
	for user, admin := range map[string]bool{"demo": false, "admin": true} {
		got, err := Resolve(t.Context(), Options{Getenv: environment("OS_AUTH_URL", url, "OS_USERNAME", user, "OS_PASSWORD", "password",
			"OS_PROJECT_NAME", user, "OS_USER_DOMAIN_NAME", "Default", "OS_PROJECT_DOMAIN_NAME", "Default")})
		if err != nil {
			t.Fatal(err)
		}
		if got.IsAdmin != admin || got.ProjectName != user || got.AuthToken == "" || len(got.ServiceCatalog) == 0 || got.ProjectID == "" || got.UserID == "" {
			t.Errorf("%s: admin %v, project %s, %d services", user, got.IsAdmin, got.ProjectName, len(got.ServiceCatalog))
		}
	}
	_, err := Resolve(t.Context(), Options{Getenv: environment("OS_AUTH_URL", url, "OS_USERNAME", "demo", "OS_PASSWORD", "wrong", "OS_PROJECT_NAME", "demo")})
	if err == nil || !strings.HasSuffix(err.Error(), "Keystone refuses the credentials (401)") {
		t.Errorf("a wrong password: %v", err)
	}
}
