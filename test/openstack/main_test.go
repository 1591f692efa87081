// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

func TestMain(m *testing.M) { cloudtest.Main(kubernetestest.Tests{M: m}) }

// newProject makes a project of the cloud.
func newProject(t *testing.T) *openstacktest.RealProject {
	t.Helper()
	return openstacktest.NewRealProject(t, cloudtest.Infra.Needs...)
}

// checkHolds compares what a project holds, but for ids.
func checkHolds(t *testing.T, p *openstacktest.RealProject, when string, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, p.Holdings()); diff != "" {
		t.Errorf("what the project holds %s (-want +got):\n%s", when, diff)
	}
}

// checkRemarks wants a restore to say nothing: all is as it was.
func checkRemarks(t *testing.T, r cloudtest.Record) {
	t.Helper()
	for what, reason := range r.Reasons {
		if reason != "" {
			t.Errorf("the restore says of %s: %s", what, reason)
		}
	}
}

// onlyOne returns the id of the only resource of a type that a restore made.
func onlyOne(t *testing.T, r cloudtest.Record, kind string) string {
	t.Helper()
	ids := r.IDs(kind)
	if len(ids) != 1 {
		t.Fatalf("the restore made %v of %s", r.Statuses, kind)
	}
	return ids[0]
}
