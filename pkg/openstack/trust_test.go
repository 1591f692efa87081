// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// The section [trustee] of the documentation, on a real Keystone: karbor-api and
// karbor-operationengine make a trust with it, log in to it and delete it, and the
// worker's own token is one of the service's project, whether the user has a default
// project or not.
func TestRealTrust(t *testing.T) {
	t.Parallel()
	url := os.Getenv("KARBOR_TEST_KEYSTONE")
	if url == "" {
		t.Skip("KARBOR_TEST_KEYSTONE is not set: no real Keystone to make trusts in")
	}
	const middleware = "[keystone_authtoken]\nproject_name = service\nproject_domain_name = Default\n"
	const project = "project_name = service\nproject_domain_name = Default\n"
	for name, c := range map[string]struct {
		defaultProject string
		more, section  string // of karbor.conf
		engine         string // what is wrong with the engine's trust
	}{
		"as documented":                {defaultProject: "service"},
		"project of the middleware":    {defaultProject: "-", section: middleware, engine: "Forbidden|Unauthorized|not authorized"},
		"with a project, as once":      {defaultProject: "-", more: project, engine: "cannot be scoped to multiple targets"},
		"with a default and a project": {defaultProject: "service", more: project, engine: "cannot be scoped to multiple targets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := "karbor-" + uuid.NewString()
			if out, err := trustScript(t, url, "make", user, c.defaultProject); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Cleanup(func() {
				if out, err := trustScript(t, url, "remove", user); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
			conf := filepath.Join(t.TempDir(), "karbor.conf")
			text := documentedTrustee(t, url, user) + c.more + c.section
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := trustScript(t, url, "engine", conf)
			if c.engine == "" && err != nil || c.engine != "" && !regexp.MustCompile(c.engine).MatchString(out) {
				t.Errorf("the engine's trust: %v, want %q\n%s", err, c.engine, out)
			}
			checkServiceProject(t, url, text)
		})
	}
}

func trustScript(t *testing.T, url string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", append([]string{"testdata/trust.py", url, "password"}, args...)...).CombinedOutput()
	return string(out), err
}

// documentedTrustee is the section of the README for a user.
func documentedTrustee(t *testing.T, url, user string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?s)\[trustee\]\n.*?\n\n`).FindString(strings.ReplaceAll(string(readme), "\n   ", "\n"))
	if section == "" {
		t.Fatal("README.md has no section [trustee]")
	}
	return strings.NewReplacer("http://controller:5000/v3", url, "username = karbor", "username = "+user, "SECRET", "password").
		Replace(strings.TrimSpace(section) + "\n")
}

// checkServiceProject logs in as the worker does and asks Keystone about the token.
func checkServiceProject(t *testing.T, url, conf string) {
	t.Helper()
	c, err := FromConfig(load(t, conf))
	if err != nil {
		t.Fatal(err)
	}
	f := New(c, nil)
	t.Cleanup(f.Close)
	token, err := f.identity.Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	client := &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{TokenID: token, HTTPClient: http.Client{}}, Endpoint: url + "/", Type: "identity"}
	got, err := tokens.Get(t.Context(), client, token).ExtractProject()
	if err != nil || got == nil || got.Name != "service" {
		t.Errorf("the worker's token is of project %+v, %v", got, err)
	}
}
