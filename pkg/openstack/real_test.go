// SPDX-License-Identifier: Apache-2.0

package openstack_test

import (
	"os"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

type named struct {
	Name string `json:"name"`
}

func TestRealGlance(t *testing.T) {
	f, ctx := openstacktest.Real(t, "KARBOR_TEST_GLANCE")
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(err)
	}
	images, err := openstack.List[named](ctx, client, "images", "images", nil)
	if err != nil || len(images) == 0 {
		t.Fatalf("got %v, %v", images, err)
	}
	_, err = openstack.Show[named](ctx, client, "images", "6e5e632c-0000-4000-8000-0bc6176c17be", "")
	if !openstack.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	t.Log(openstack.Reason(err))

	caller := *requestcontext.From(ctx)
	caller.AuthToken = "gAAAAABnonsense"
	ctx = requestcontext.New(ctx, &caller)
	if client, err = f.Image(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err = openstack.List[named](ctx, client, "images", "images", nil); !fault.Is(err, "AuthorizationFailure") {
		t.Errorf("with a bad token: %v", err)
	}
}

// The admin finds endpoints that a catalogue leaves out.
func TestRealKeystoneLookup(t *testing.T) {
	_, ctx := openstacktest.Real(t, "KARBOR_TEST_GLANCE")
	url := os.Getenv("KARBOR_TEST_KEYSTONE")
	f := openstack.New(openstack.Config{AuthURI: url, Trustee: &openstack.IdentityConfig{AuthURL: url, Options: gophercloud.AuthOptions{
		Username: "admin", Password: "password", DomainName: "Default",
		Scope: &gophercloud.AuthScope{ProjectName: "admin", DomainName: "Default"},
	}}}, nil)
	t.Cleanup(f.Close)
	caller := *requestcontext.From(ctx)
	caller.ServiceCatalog = nil
	ctx = requestcontext.New(ctx, &caller)
	client, err := f.Image(ctx)
	if err != nil {
		t.Fatal(fault.Detail(err))
	}
	if images, err := openstack.List[named](ctx, client, "images", "images", nil); err != nil || len(images) == 0 {
		t.Errorf("got %v, %v", images, err)
	}
	if _, err := f.Database(ctx); err == nil {
		t.Error("a service that Keystone does not know has a client")
	}
}
