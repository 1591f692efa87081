// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

func TestEndpoint(t *testing.T) {
	t.Parallel()
	catalog := []requestcontext.Service{
		{Type: "volumev3", Name: "other", Endpoints: []requestcontext.Endpoint{
			{PublicURL: "http://one.example/v3/p", InternalURL: "http://int.example/v3/p", Region: "One"},
			{PublicURL: "http://two.example/v3/p/", Region: "Two"},
		}},
		{Type: "image", Endpoints: []requestcontext.Endpoint{{AdminURL: "http://admin.example", Region: "One"}}},
		{Type: "network"},
		{Type: "shared-file-system", Endpoints: []requestcontext.Endpoint{{PublicURL: "http://share.example/v2", Region: "One"}}},
		{Type: "volume", Endpoints: []requestcontext.Endpoint{{PublicURL: "http://volume.example/v1/p", AdminURL: "http://volume.example/v1/p"}}},
	}
	token := `{"token": {"catalog": [
		{"type": "backup", "name": "freezer", "endpoints": [
			{"interface": "public", "region": "One", "region_id": "One", "url": "http://backup.example/v2/$(project_id)s"},
			{"interface": "internal", "region_id": "One", "url": "http://inside.example/v2"}]},
		{"type": "block-storage", "name": "cinder", "endpoints": [
			{"interface": "public", "region_id": "One", "url": "http://block.example/volume/v3/p"},
			{"interface": "public", "region_id": "Two", "url": "http://second.example/volume/v3/p"}]}]}}`
	info := func(i string) ServiceConfig { return ServiceConfig{CatalogInfo: i, RegionID: "RegionOne"} }
	for name, tc := range map[string]struct {
		service service
		cfg     ServiceConfig
		want    string // "" is an error
	}{
		"configured":              {cinder, ServiceConfig{Endpoint: "http://c.example/v3/"}, "http://c.example/v3/p/"},
		"configured, bare":        {glance, ServiceConfig{Endpoint: "http://g.example"}, "http://g.example/"},
		"configured, placeholder": {nova, ServiceConfig{Endpoint: "http://n.example/v2.1/%(tenant_id)s"}, "http://n.example/v2.1/p/"},
		"other placeholder":       {trove, ServiceConfig{Endpoint: "http://t.example/v1.0/$(project_id)s/x"}, "http://t.example/v1.0/p/x/"},
		"catalogue, no region":    {cinder, info("volumev3:cinderv3:publicURL"), "http://one.example/v3/p/"},
		"catalogue, region":       {cinder, ServiceConfig{CatalogInfo: "volumev3:x:publicURL", RegionID: "Two"}, "http://two.example/v3/p/"},
		"catalogue, internal":     {cinder, info("volumev3:cinderv3:internalURL"), "http://int.example/v3/p/"},
		"catalogue, admin":        {glance, info("image:glance:adminURL"), "http://admin.example/"},
		"no such interface":       {glance, info("image:glance:publicURL"), ""},
		"no such type":            {nova, info("compute:nova:publicURL"), ""},
		"no endpoints":            {neutron, info("network:neutron:publicURL"), ""},
		"not three parts":         {cinder, info("volumev3:publicURL"), ""},
		"official type":           {manila, info("sharev2:manilav2:publicURL"), "http://share.example/v2/"},
		"another alias":           {cinder, info("volumev4:cinder:internalURL"), "http://int.example/v3/p/"},
		"another major version":   {cinder, info("volumev4:cinder:adminURL"), ""},
		"service_type":            {cinder, ServiceConfig{CatalogInfo: "volumev3:cinderv3:publicURL", ServiceType: "volume"}, "http://volume.example/v1/p/"},
		"the token's catalogue":   {freezer, info("backup:freezer:publicURL"), "http://backup.example/v2/p/"},
		"the token's, internal":   {freezer, info("backup:freezer:internalURL"), "http://inside.example/v2/"},
		"the token's, region":     {cinder, ServiceConfig{CatalogInfo: "block-storage:cinder:publicURL", RegionID: "Two"}, "http://second.example/volume/v3/p/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := caller("p")
			c.ServiceCatalog, c.AuthTokenInfo = catalog, json.RawMessage(token)
			f := factory(t, Config{Services: map[string]ServiceConfig{tc.service.name: tc.cfg}})
			got, _, err := f.endpoint(t.Context(), c, tc.service)
			if tc.want == "" {
				want := "Couldn't find the endpoint of service(" + tc.service.name + ")"
				if !fault.Is(err, "KarborException") || err.Error() != want {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v, not %q", got, err, tc.want)
			}
		})
	}
}

func TestEndpointFromKeystone(t *testing.T) {
	t.Parallel()
	identity := keystone(t, time.Hour)
	f := factory(t, Config{AuthURI: identity.URL, Trustee: trusteeAt(identity.URL)})
	for range 2 {
		got, _, err := f.endpoint(t.Context(), caller("p"), cinder)
		if got != "http://in.example/v3/p/" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if identity.count() != 3 { // login, services, endpoints
		t.Errorf("%d calls of Keystone", identity.count())
	}
	// Manila as installers of today register it: found by its type.
	if got, _, err := f.endpoint(t.Context(), caller("p"), manila); got != "http://share.example/v2/" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, _, err := f.endpoint(t.Context(), caller("p"), nova); err == nil {
		t.Error("a service that Keystone does not know has an endpoint")
	}
}

func TestVersioned(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "",
		"http://k:5000":             "http://k:5000/v3",
		"http://k:5000/":            "http://k:5000/v3",
		"http://k:5000/v2.0":        "http://k:5000/v3",
		"http://k/identity/v3/":     "http://k/identity/v3",
		"http://k.example/identity": "http://k.example/identity/v3",
	} {
		if got := versioned(in); got != want {
			t.Errorf("versioned(%q) = %q, not %q", in, got, want)
		}
	}
}
