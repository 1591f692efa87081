// SPDX-License-Identifier: Apache-2.0

package swift_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/swift"
	pkgconfig "github.com/karbor-project/karbor/pkg/config"
)

func loadFile(t *testing.T, text string) (*pkgconfig.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "provider.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return pkgconfig.LoadFile(path, swift.Options)
}

// A provider's file as installations have it.
func TestFromConfig(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg, err := loadFile(t, fmt.Sprintf(`
[provider]
name = other groups are not ours
[swift_client]
swift_auth_url = %s/identity
swift_user = karbor
swift_key = s3cret
swift_tenant_name = service
swift_project_domain_name = projects
swift_user_domain_name = users
swift_retry_attempts = 1
swift_retry_backoff = 0
swift_catalog_info = object-store:swift:publicURL
[swift_bank_plugin]
bank_swift_object_container = other
lease_expire_window = 120
lease_renew_window = 60
`, f.URL))
	if err != nil {
		t.Fatal(err)
	}
	p, lease, err := swift.FromConfig(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := bank.New(p, lease)
	defer b.Close()
	section, err := b.Section("/s")
	if err != nil {
		t.Fatal(err)
	}
	f.fail(1, "PUT", "/other/", status(503))
	if err := section.PutText(t.Context(), "a", "x"); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.stored("other", "/s/a"); !ok {
		t.Error("the object is not in the container")
	}
	o, ok := f.stored("leases", p.OwnerID())
	if !ok || o.header.Get("X-Delete-After") != "120" {
		t.Errorf("lease is there: %t, headers %v", ok, o.header)
	}
	want := bank.LeaseWindows{Expire: 2 * time.Minute, Renew: time.Minute, Validity: 30 * time.Second}
	if lease.Windows() != want {
		t.Errorf("windows are %+v, want %+v", lease.Windows(), want)
	}
	f.fail(2, "PUT", "/other/", status(503))
	if err := section.PutText(t.Context(), "b", "x"); err == nil || !strings.Contains(err.Error(), "tried 2 times") {
		t.Errorf("error is %v", err)
	}
}

func TestFromConfigNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	cfg, err := loadFile(t, "[swift_client]\nswift_auth_url = http://keystone/v3\nswift_user = karbor\nswift_key = hush\n")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = swift.FromConfig(cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "swift_tenant_name is not set") || strings.Contains(err.Error(), "hush") {
		t.Errorf("error is %v", err)
	}
	if _, err := loadFile(t, "[swift_client]\nswift_retry_attempts = -1\n"); err == nil {
		t.Error("a negative number of attempts was taken")
	}
}
