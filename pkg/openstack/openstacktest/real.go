// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// Real logs user demo in at the Keystone of KARBOR_TEST_KEYSTONE and returns a
// factory with the identity of user karbor, and a context as karbor-api would
// send it. It skips the test if need, a variable such as KARBOR_TEST_GLANCE, or
// the former is not set.
func Real(t testing.TB, need ...string) (*openstack.Factory, context.Context) {
	t.Helper()
	skipWithout(t, need...)
	return realFactory(t), requestcontext.New(t.Context(), login(t, "demo", "demo"))
}

func skipWithout(t testing.TB, need ...string) {
	t.Helper()
	for _, name := range append([]string{"KARBOR_TEST_KEYSTONE"}, need...) {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set: no real service to test with", name)
		}
	}
}

// identity is the login of a user of the test services, who all have the same password,
// to a project.
func identity(user, project string) gophercloud.AuthOptions {
	return gophercloud.AuthOptions{
		Username: user, Password: "password", DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: project, DomainName: "Default"},
	}
}

func realFactory(t testing.TB) *openstack.Factory {
	authURL := os.Getenv("KARBOR_TEST_KEYSTONE")
	cfg := openstack.Config{AuthURI: authURL, Trustee: &openstack.IdentityConfig{AuthURL: authURL, Options: identity("karbor", "service")}}
	f := openstack.New(cfg, nil)
	t.Cleanup(f.Close)
	return f
}

// plainClient calls a service with a token and nothing else.
func plainClient(t testing.TB, url, token string) *gophercloud.ServiceClient {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: token, HTTPClient: http.Client{Transport: transport}},
		Endpoint:       strings.TrimRight(url, "/") + "/",
	}
}

// login returns the request context that karbor-api would make for that user.
func login(t testing.TB, user, project string) *requestcontext.RequestContext {
	t.Helper()
	options := identity(user, project)
	result := tokens.Create(t.Context(), plainClient(t, os.Getenv("KARBOR_TEST_KEYSTONE"), ""), &options)
	if result.Err != nil {
		t.Fatalf("log in as %s: %v", user, result.Err)
	}
	return callerOf(t, result)
}

// callerOf returns the request context that keystonemiddleware and karbor-api derive
// from a token.
func callerOf(t testing.TB, result tokens.CreateResult) *requestcontext.RequestContext {
	t.Helper()
	id, err := result.ExtractTokenID()
	if err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(result.Body)
	if err != nil {
		t.Fatal(err)
	}
	project, err := result.ExtractProject()
	if err != nil {
		t.Fatal(err)
	}
	user, err := result.ExtractUser()
	if err != nil {
		t.Fatal(err)
	}
	caller := &requestcontext.RequestContext{
		UserID: user.ID, ProjectID: project.ID, ProjectName: project.Name,
		AuthToken: id, AuthTokenInfo: info, RequestID: "req-" + uuid.NewString(),
	}
	caller.ServiceCatalog = caller.TokenCatalog()
	return caller
}
