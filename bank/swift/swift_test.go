// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/swift"
	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// config reaches a fake, with pauses that tests do not notice.
func config(f *fake) swift.Config {
	return swift.Config{
		AuthURL: f.URL + "/identity/v3", User: "karbor", Key: "s3cret", Tenant: "service",
		ProjectDomainName: "projects", UserDomainName: "users",
		Container: "karbor", RetryAttempts: 3, RetryBackoff: time.Millisecond,
	}
}

func newStore(t testing.TB, cfg swift.Config) bank.Plugin {
	t.Helper()
	p, err := swift.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func put(t *testing.T, p bank.Plugin, key, body string) error {
	t.Helper()
	return p.Put(t.Context(), key, bank.Upload{Open: bank.Bytes([]byte(body)), Size: int64(len(body))})
}

func get(t *testing.T, p bank.Plugin, key string) (string, error) {
	t.Helper()
	o, err := p.Get(t.Context(), key)
	if err != nil {
		return "", err
	}
	defer o.Body.Close()
	body, err := io.ReadAll(o.Body)
	return string(body), err
}

func TestConformance(t *testing.T) {
	t.Parallel()
	banktest.Run(t, func(t *testing.T) bank.Plugin { return newStore(t, config(newFake(t))) })
}

// A Swift whose operator allows shorter pages than ours.
func TestConformanceWithShortPages(t *testing.T) {
	t.Parallel()
	banktest.Run(t, func(t *testing.T) bank.Plugin {
		f := newFake(t)
		f.pageLimit = 7
		return newStore(t, config(f))
	}, banktest.Many(50))
}

// The real thing: Keystone and Swift, with the user karbor in project service.
// KARBOR_TEST_SWIFT_OBJECTS sets the number of objects of the long listing.
func TestConformanceReal(t *testing.T) {
	t.Parallel()
	cfg := realConfig(t)
	objects, err := strconv.Atoi(os.Getenv("KARBOR_TEST_SWIFT_OBJECTS"))
	if err != nil {
		// Several pages without the time that several times 10000 take.
		objects, cfg.PageSize = 350, 100
	}
	banktest.Run(t, func(t *testing.T) bank.Plugin { return newStore(t, cfg) }, banktest.Many(objects), banktest.Flickering())
}

func realConfig(t *testing.T) swift.Config {
	t.Helper()
	keystone := os.Getenv("KARBOR_TEST_KEYSTONE")
	if keystone == "" || os.Getenv("KARBOR_TEST_SWIFT") == "" {
		t.Skip("needs KARBOR_TEST_KEYSTONE, the URL of a Keystone, and KARBOR_TEST_SWIFT=1")
	}
	return swift.Config{
		AuthURL: keystone, User: "karbor", Key: "password", Tenant: "service",
		ProjectDomainName: "Default", UserDomainName: "Default",
		Container: "banktest-" + uuid.NewString(), RetryAttempts: 3, RetryBackoff: time.Second,
	}
}

// The bytes on the wire: the double slash, the escaped @, the flag.
func TestRequests(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	const key = "/indices/by-date/2026-11-22/p/1795362440@75019568"
	section, err := bank.New(p, nil).Section("/checkpoints/1")
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, p, key, "75019568"); err != nil {
		t.Fatal(err)
	}
	if err := section.PutJSON(t.Context(), "index.json", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.List(t.Context(), bank.ListOptions{Prefix: "/indices/", Marker: "/indices/a@", Limit: 5, Descending: true}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PUT /v1/AUTH_project/karbor//indices/by-date/2026-11-22/p/1795362440%4075019568",
		"PUT /v1/AUTH_project/karbor",
		"PUT /v1/AUTH_project/karbor//indices/by-date/2026-11-22/p/1795362440%4075019568",
		"PUT /v1/AUTH_project/karbor//checkpoints/1/index.json",
		"GET /v1/AUTH_project/karbor?limit=5&marker=%2Findices%2Fa%40&prefix=%2Findices%2F&reverse=on",
	}
	if diff := cmp.Diff(want, f.seen()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if o, _ := f.stored("karbor", key); o.header.Get("X-Object-Meta-Serialized") != "False" {
		t.Errorf("headers of a text: %v", o.header)
	}
	o, _ := f.stored("karbor", "/checkpoints/1/index.json")
	if o.header.Get("X-Object-Meta-Serialized") != "True" || string(o.body) != `{"a": 1}` {
		t.Errorf("JSON is %q with headers %v", o.body, o.header)
	}
}

func TestMissingFlagIsUnknown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	if err := put(t, p, "/a", `{"x": 1}`); err != nil {
		t.Fatal(err)
	}
	o, _ := f.stored("karbor", "/a")
	o.header.Del("X-Object-Meta-Serialized")
	object, err := p.Get(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	if object.Serialized != bank.Unknown {
		t.Errorf("flag is %v", object.Serialized)
	}
}

func TestMissingContainerIsEmpty(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := newStore(t, config(f))
	keys, err := p.List(t.Context(), bank.ListOptions{Prefix: "/"})
	if err != nil || len(keys) != 0 {
		t.Errorf("listing gives %q, %v", keys, err)
	}
	if _, err := get(t, p, "/a"); !errors.Is(err, bank.ErrNotFound) {
		t.Errorf("get gives %v", err)
	}
	for _, r := range f.seen() {
		if strings.HasPrefix(r, "PUT") {
			t.Errorf("reading sent %s", r)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := config(newFake(t))
	for option, change := range map[string]func(*swift.Config){
		"swift_auth_url":              func(c *swift.Config) { c.AuthURL = "" },
		"swift_user":                  func(c *swift.Config) { c.User = "" },
		"swift_key":                   func(c *swift.Config) { c.Key = "" },
		"swift_tenant_name":           func(c *swift.Config) { c.Tenant = "" },
		"bank_swift_object_container": func(c *swift.Config) { c.Container = "" },
		"swift_retry_attempts":        func(c *swift.Config) { c.RetryAttempts = -1 },
		"swift_ca_cert_file":          func(c *swift.Config) { c.CACertFile = "/nonexistent" },
	} {
		cfg := good
		change(&cfg)
		if _, err := swift.New(cfg, nil); err == nil || !strings.Contains(err.Error(), option) {
			t.Errorf("%s: error is %v", option, err)
		}
	}
}
