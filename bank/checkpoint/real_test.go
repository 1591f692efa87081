// SPDX-License-Identifier: Apache-2.0

package checkpoint_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/swift"
)

// The life of checkpoints in a real Swift, with a lease.
func TestRealSwift(t *testing.T) {
	t.Parallel()
	keystone := os.Getenv("KARBOR_TEST_KEYSTONE")
	if keystone == "" || os.Getenv("KARBOR_TEST_SWIFT") == "" {
		t.Skip("needs KARBOR_TEST_KEYSTONE, the URL of a Keystone, and KARBOR_TEST_SWIFT=1")
	}
	cfg := swift.Config{
		AuthURL: keystone, User: "karbor", Key: "password", Tenant: "service",
		ProjectDomainName: "Default", UserDomainName: "Default",
		Container: "checkpoints-" + uuid.NewString(), RetryAttempts: 3, RetryBackoff: time.Second,
	}
	plugin, err := swift.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := swift.NewLeaseStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	lease := bank.NewLease(leases, plugin.OwnerID(), bank.DefaultLeaseWindows(), bank.Clock{}, nil)
	b := bank.New(plugin, lease)
	defer b.Close()
	n := 0
	c := checkpoint.NewCollection(b, provider, checkpoint.Options{
		NewID: func() string { n++; return fmt.Sprintf("cp-%d", n) },
		Clock: func() time.Time { return time.Unix(1795362440+int64(n), 0) },
	})
	for range 5 {
		if _, err := c.Create(t.Context(), checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Deleting}); err != nil {
			t.Fatal(err)
		}
	}
	cp, err := c.Get(t.Context(), "cp-4")
	if err != nil {
		t.Fatal(err)
	}
	if err := cp.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    checkpoint.ListOptions
		want []string
	}{
		{checkpoint.ListOptions{ProjectID: project}, []string{"cp-1", "cp-2", "cp-3", "cp-5"}},
		{checkpoint.ListOptions{ProjectID: project, Descending: true, Limit: 2}, []string{"cp-5", "cp-3"}},
		{checkpoint.ListOptions{AllTenants: true, Descending: true, Marker: "cp-4"}, []string{"cp-3", "cp-2", "cp-1"}},
		{checkpoint.ListOptions{ProjectID: project, PlanID: plan.ID, StartDate: "2026-11-22", Limit: 1}, []string{"cp-1"}},
	} {
		if diff := cmp.Diff(test.want, ids(t, c, test.o)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.o, diff)
		}
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
