// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// publicCatalogue is a context's catalogue with one service at a URL.
func publicCatalogue(kind, at string) []requestcontext.Service {
	return []requestcontext.Service{{Type: kind, Endpoints: []requestcontext.Endpoint{{PublicURL: at}}}}
}

// TestServiceTokenStaysAtHome has a context with a catalogue of its own making, as
// anybody can send one who reaches the bus.
func TestServiceTokenStaysAtHome(t *testing.T) {
	t.Parallel()
	image := func(t *testing.T) *recorder {
		return record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"images": []}`) })
	}
	ours, stranger := image(t), image(t)
	identity := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", "service")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": {"expires_at": %q, "catalog": [{"type": "image", "endpoints": [{"interface": "internal", "url": %q}]}]}}`,
			time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z"), ours.URL)
	})
	for name, tc := range map[string]struct {
		cfg  ServiceConfig
		at   *recorder
		want string
	}{
		"an endpoint of our own catalogue": {ServiceConfig{CatalogInfo: "image:glance:publicURL"}, ours, "service"},
		"an endpoint of the context alone": {ServiceConfig{CatalogInfo: "image:glance:publicURL"}, stranger, ""},
		"a configured endpoint":            {ServiceConfig{Endpoint: stranger.URL}, stranger, "service"},
	} {
		t.Run(name, func(t *testing.T) {
			f := factory(t, Config{Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": tc.cfg}})
			who := caller("p")
			who.ServiceCatalog = publicCatalogue("image", tc.at.URL)
			ctx := requestcontext.New(t.Context(), who)
			client, err := f.Image(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := List[struct{}](ctx, client, "images", "images", nil); err != nil {
				t.Fatal(err)
			}
			if got := tc.at.requests[tc.at.count()-1].Header.Get("X-Service-Token"); got != tc.want {
				t.Errorf("service token %q, not %q", got, tc.want)
			}
		})
	}
}

// TestRedirectsEndCalls has a service, and Keystone, that redirect to somebody else.
func TestRedirectsEndCalls(t *testing.T) {
	t.Parallel()
	var stolen []string
	stranger := record(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		stolen = append(stolen, r.Header.Get("X-Auth-Token")+r.Header.Get("X-Service-Token"))
	})
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirecting.Close)
	identity := keystone(t, time.Hour)
	for name, cfg := range map[string]Config{
		"service":  {Trustee: trusteeAt(identity.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: redirecting.URL}}},
		"Keystone": {Trustee: trusteeAt(redirecting.URL), Services: map[string]ServiceConfig{"glance": {Endpoint: stranger.URL}}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
			f := factory(t, cfg)
			ctx := requestcontext.New(t.Context(), caller("p"))
			client, err := f.Image(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Request(ctx, method, client.ServiceURL("images"), &gophercloud.RequestOpts{})
			var refused *httpclient.RedirectError
			if !errors.As(err, &refused) {
				t.Errorf("%s, %s: %v", name, method, err)
			}
		}
	}
	if stranger.count() != 0 {
		t.Errorf("somebody else got %d requests, with %q", stranger.count(), stolen)
	}
}

func TestProjectCannotChangeTheEndpoint(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"@127.0.0.2:1", "../admin", "a/b", "a?b", "a#b", "p%2f", "a b", "p\n", ".", "..", strings.Repeat("a", 65), "ü"} {
		for _, cfg := range []ServiceConfig{
			{Endpoint: "http://cinder$(project_id)s/v3"}, {Endpoint: "http://cinder:8776/v3"}, {CatalogInfo: "volumev3:cinderv3:publicURL"},
		} {
			f := factory(t, Config{Services: map[string]ServiceConfig{"cinder": cfg}})
			who := caller(id)
			who.ServiceCatalog = publicCatalogue("volumev3", "http://cinder/v3/$(tenant_id)s")
			if _, err := f.BlockStorage(requestcontext.New(t.Context(), who)); !fault.Is(err, "InvalidInput") || !strings.Contains(err.Error(), "project_id") {
				t.Errorf("project %q with %+v: %v", id, cfg, err)
			}
		}
	}
}

// TestIDsInPaths makes a call for each id. The service must see the path that was
// meant, or no call.
func TestIDsInPaths(t *testing.T) {
	t.Parallel()
	cloud := record(t, func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"image": {}}`) })
	f := factory(t, Config{Services: map[string]ServiceConfig{"glance": {Endpoint: cloud.URL}}})
	ctx := requestcontext.New(t.Context(), caller("p"))
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"..", ".", "a/../b", "a/b", "/", "a\\b", "a\nb", "a\x00b", "a\x7f"} {
		_, err := Show[struct{}](ctx, client, "images", id, "image")
		var odd *IDError
		if !errors.As(err, &odd) || !IsNotFound(err) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if cloud.count() != 0 {
		t.Errorf("%d calls were made", cloud.count())
	}
	ids := []string{"c2b7…", "a b", "a?b=c", "a#b", "a%2Fb", "...", "a;b", "a&b"}
	for _, id := range ids {
		if _, err := Show[struct{}](ctx, client, "images", id, "image"); err != nil {
			t.Errorf("id %q: %v", id, err)
		}
	}
	for i, r := range cloud.requests {
		if got := strings.Split(r.URL.Path, "/"); r.URL.RawQuery != "" || !slices.Equal(got, []string{"", "v2", "images", ids[i]}) {
			t.Errorf("id %q was asked for as %s?%s", ids[i], r.URL.Path, r.URL.RawQuery)
		}
	}
	elsewhere, err := url.Parse(cloud.URL)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Host = "127.0.0.2:1"
	if _, err := client.Get(ctx, elsewhere.String(), nil, nil); err == nil || !strings.Contains(err.Error(), "is not the endpoint") {
		t.Errorf("a call of another server: %v", err)
	}
}
