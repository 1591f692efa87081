// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is a cloud and what openstacksdk makes of it: see testdata/record.py.
type recorded struct {
	Name  string
	Files map[string]string
	Env   map[string]string
	Cloud string
	Want  struct {
		Error     string
		Auth      map[string]any
		AuthType  string `json:"auth_type"`
		Region    string
		Interface any
		Verify    any
		Cert      any
	}
}

func (r recorded) options(t *testing.T) Options {
	t.Helper()
	home := t.TempDir()
	folder := filepath.Join(home, ".config", "openstack")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range r.Files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Cloud: r.Cloud, Getenv: func(name string) string {
		switch value := r.Env[name]; {
		case name == "HOME":
			return home
		case value != "" && strings.HasSuffix(name, "_FILE"):
			return filepath.Join(folder, value)
		default:
			return value
		}
	}}
}

func recordings(t *testing.T) []recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/clouds.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []recorded
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// lenient are the clouds that openstacksdk, or what it uses, fails at, while what they
// mean is plain.
var lenient = map[string]string{
	"application credential without a type": "the credentials say which type it is",
	"unknown key":                           "a key that is not known says nothing",
	"default domain":                        "likewise",
	"null type":                             "null is nothing",
	"v3password":                            "the domain has a default",
	"v3token":                               "likewise",
	"verify a text":                         "taken for the name of a file there",
}

// Clouds are read as openstacksdk reads them.
func TestCloudsAsRecorded(t *testing.T) {
	t.Parallel()
	all := recordings(t)
	if len(all) < 60 {
		t.Errorf("only %d clouds were recorded", len(all))
	}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			o := r.options(t)
			e, err := o.chosen()
			var login *credentials
			if err == nil && e.kind() != "none" && r.Want.Cert == nil && !strings.HasSuffix(r.Name, "cacert") && r.Name != "old variables" {
				login, err = e.credentials(o)
			}
			if lenient[r.Name] != "" {
				if err != nil || login == nil {
					t.Errorf("%v, although %s", err, lenient[r.Name])
				}
				return
			}
			if (err != nil) != (r.Want.Error != "") {
				t.Fatalf("error %v, openstacksdk: %q", err, r.Want.Error)
			}
			if err != nil {
				return
			}
			auth := map[string]string{}
			for key, value := range r.Want.Auth {
				auth[key] = text(value)
			}
			if diff := cmp.Diff(auth, e.auth); diff != "" {
				t.Errorf("auth (-openstacksdk +ours):\n%s", diff)
			}
			check, authorities := e.verify()
			var verify any = check
			if authorities != "" {
				verify = authorities
			}
			cert := any(nil)
			if file := text(e.config["cert"]); file != "" {
				cert = file
				if key := text(e.config["key"]); key != "" {
					cert = []any{file, key}
				}
			}
			want := []any{r.Want.AuthType, r.Want.Region, r.Want.Interface, r.Want.Verify, r.Want.Cert}
			got := []any{e.kind(), text(e.config["region_name"]), e.config["interface"], verify, cert}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("type, region, interface, verify, cert (-openstacksdk +ours):\n%s", diff)
			}
			if strings.Contains(r.Name, "domain") && login != nil && login.auth.Username != "" && login.auth.DomainID+login.auth.DomainName == "" {
				t.Error("the user has no domain")
			}
		})
	}
}

// What no cloud can be logged in to with is one error, which names the cloud and shows
// no secret, whatever YAML can say.
func FuzzClouds(f *testing.F) {
	for _, seed := range []string{
		"{x: {auth_type: none, endpoint: http://h}}", "{x: {auth_url: u, application_credential_id: i, application_credential_secret: s}}",
		"{x: {auth: {auth_url: [], password: {}}}}", "{x: {regions: [[]]}}", "{x: &a {profile: *a}}", "{? [1] : 2, x: {auth: 5}}",
		"{x: {regions: {}, region_name: 5}}", "{x: {auth: {password: hush, auth_url: '{password}{'}}}", "x: [", "{x: {<<: {auth: {auth_url: u}}}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, clouds string) {
		r := recorded{Files: map[string]string{"clouds.yaml": "clouds: " + clouds}, Cloud: "x"}
		o := r.options(t)
		if e, err := o.chosen(); err == nil {
			_, _ = e.credentials(o)
		}
	})
}
