// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "karbor.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Files: []string{file}}, Options())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestFromConfigDefaults(t *testing.T) {
	t.Parallel()
	got, err := FromConfig(load(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if got.Trustee != nil {
		t.Error("an identity without auth_type")
	}
	want := map[string]string{
		"cinder": "volumev3:cinderv3:publicURL", "freezer": "backup:freezer:publicURL", "glance": "image:glance:publicURL",
		"manila": "sharev2:manilav2:publicURL", "neutron": "network:neutron:publicURL", "nova": "compute:nova:publicURL",
		"trove": "database:trove:publicURL",
	}
	for name, info := range want {
		s := got.Services[name]
		if s.CatalogInfo != info || s.RegionID != "RegionOne" || s.Interface != "internal" || s.MaxCalls != DefaultMaxCalls {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if len(got.Services) != len(want) {
		t.Errorf("%d services", len(got.Services))
	}
	for name, want := range map[string]string{"cinder": "3.43", "manila": "2.0", "nova": "", "glance": ""} {
		if version := got.Services[name].Microversion; version != want {
			t.Errorf("%s has microversion %q, not %q", name, version, want)
		}
	}
}

// An operator's service_type counts, unless the option of the original says where to look.
func TestServiceType(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "",
		"[cinder_client]\nservice_type = block-storage\n":                                                      "block-storage",
		"[cinder_client]\nservice_type = block-storage\ncinder_catalog_info = volumev3:cinderv3:internalURL\n": "",
	} {
		if got, err := FromConfig(load(t, text)); err != nil || got.Services["cinder"].ServiceType != want {
			t.Errorf("%q: type %q, %v", text, got.Services["cinder"].ServiceType, err)
		}
	}
}

func TestFromConfig(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want *IdentityConfig
		err  string
	}{
		"password": {
			"[trustee]\nauth_type = password\nauth_url = http://k\nusername = u\npassword = p\nuser_domain_name = d\nproject_name = s\nproject_domain_id = default\n",
			&IdentityConfig{AuthURL: "http://k", Options: gophercloud.AuthOptions{Username: "u", Password: "p", DomainName: "d",
				Scope: &gophercloud.AuthScope{ProjectName: "s", DomainID: "default"}}}, "",
		},
		"devstack": {
			"[trustee]\nauth_plugin = password\nauth_url = http://k\nuser_name = u\npassword = p\nuser_domain_id = default\n",
			&IdentityConfig{AuthURL: "http://k", Options: gophercloud.AuthOptions{Username: "u", Password: "p", DomainID: "default"}}, "",
		},
		"project of the middleware": {
			"[trustee]\nauth_type = password\nauth_url = http://k\nusername = u\npassword = p\nuser_domain_id = default\n" +
				"[keystone_authtoken]\nproject_name = service\nproject_domain_name = Default\n",
			&IdentityConfig{AuthURL: "http://k", Options: gophercloud.AuthOptions{Username: "u", Password: "p", DomainID: "default"},
				Project: &gophercloud.AuthScope{ProjectName: "service", DomainName: "Default"}}, "",
		},
		"by id, in a trust": {
			"[trustee]\nauth_type = v3password\nauth_url = http://k\nusername = u\nuser_id = i\npassword = p\ntrust_id = t\nuser_domain_id = d",
			&IdentityConfig{AuthURL: "http://k", Options: gophercloud.AuthOptions{UserID: "i", Password: "p", Scope: &gophercloud.AuthScope{TrustID: "t"}}}, "",
		},
		"elsewhere": {
			"[trustee]\nauth_section = keystone_authtoken\n[keystone_authtoken]\nauth_type = v3applicationcredential\nauth_url = http://k\napplication_credential_id = a\napplication_credential_secret = s\n",
			&IdentityConfig{AuthURL: "http://k", Options: gophercloud.AuthOptions{ApplicationCredentialID: "a", ApplicationCredentialSecret: "s"}}, "",
		},
		"unknown type":    {"[trustee]\nauth_type = kerberos\n", nil, "auth_type = kerberos"},
		"unknown section": {"[trustee]\nauth_section = other\n", nil, "auth_section = other"},
		"microversion":    {"[nova_client]\nmicroversion = latest\n", nil, "microversion = latest"},
		"no url":          {"[trustee]\nauth_type = password\npassword = secret\n", nil, "auth_url is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := FromConfig(load(t, tc.text))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Trustee); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeystoneURL(t *testing.T) {
	t.Parallel()
	got, err := FromConfig(load(t, "[keystone_authtoken]\nwww_authenticate_uri = http://k:5000/v2.0\ncafile = /ca\ninsecure = yes\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.keystoneURL() != "http://k:5000/v3" || got.Keystone.CAFile != "/ca" || !got.Keystone.Insecure {
		t.Errorf("got %q, %+v", got.keystoneURL(), got.Keystone)
	}
	got.AuthURI = "http://other"
	if got.keystoneURL() != "http://other/v3" {
		t.Errorf("got %q", got.keystoneURL())
	}
}

func TestSecretsAreMarked(t *testing.T) {
	t.Parallel()
	for _, o := range Options() {
		named := strings.Contains(o.Name, "password") || strings.Contains(o.Name, "secret") || o.Name == "token"
		if named != o.Secret {
			t.Errorf("%s.%s: secret is %v", o.Group, o.Name, o.Secret)
		}
	}
}
