// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"slices"
	"testing"
)

// kubernetesLibraries are modules that only the way to a cluster may use.
var kubernetesLibraries = []string{"k8s.io", "sigs.k8s.io"}

// TestKubernetesStaysApart keeps Kubernetes' libraries in the package that a program
// can leave out, and in the kit that tests it.
func TestKubernetesStaysApart(t *testing.T) {
	t.Parallel()
	may := []string{"pkg/kubernetes/client", "pkg/kubernetes/kubernetestest"}
	for _, p := range list(t, "./...") {
		from, _ := rel(p.ImportPath)
		for _, to := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if underAny(to, kubernetesLibraries) && !underAny(from, may) {
				t.Errorf("%s imports %s; that is for %v", from, to, may)
			}
		}
	}
}

// TestWithoutKubernetes links a program with and without the build tag.
func TestWithoutKubernetes(t *testing.T) {
	t.Parallel()
	linked := func(arguments ...string) bool {
		return slices.ContainsFunc(list(t, append(arguments, "-deps", "./cmd/karbor-protection")...), func(p pkg) bool {
			path, _ := rel(p.ImportPath)
			return underAny(p.ImportPath, kubernetesLibraries) || path == "pkg/kubernetes/client"
		})
	}
	if !linked() {
		t.Error("the daemon has no way to a cluster")
	}
	if linked("-tags=nokubernetes") {
		t.Error("the daemon that is built with nokubernetes links Kubernetes' libraries")
	}
}
