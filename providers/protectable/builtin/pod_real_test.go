// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// The pods of a real API server, on volumes of a cloud that is none.
func TestRealKubernetes(t *testing.T) {
	s := kubernetestest.Real(t)
	w := s.World(t)
	volume := "pv-" + w.Namespace
	w.Put(t, kubernetestest.Volume(volume, `"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "v1"}`))
	w.Put(t, kubernetestest.Claim(w.Namespace, "claim", volume))
	for _, name := range []string{"web", "waiting"} {
		manifest := kubernetestest.Manifest(name)
		manifest["spec"].(map[string]any)["volumes"] = []any{
			map[string]any{"name": "a", "persistentVolumeClaim": map[string]any{"claimName": "claim"}},
			map[string]any{"name": "b", "cinder": map[string]any{"volumeID": "v2"}},
			map[string]any{"name": "c", "emptyDir": map[string]any{}},
		}
		if _, err := w.Client.CreatePod(t.Context(), w.Namespace, manifest); err != nil {
			t.Fatal(err)
		}
	}
	w.Start(t, "web")

	c, _ := cloud(t)
	registry := protectable.NewRegistry(protectable.Options{}, Plugins(c.Factory, w.Client, w.Namespace)...)
	ctx := openstacktest.Context(t)
	plugin, err := registry.Get(resource.Pod)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"OS::Kubernetes::Pod " + kubernetes.PodID(w.Namespace, "web") + " " + w.Namespace + `:web {"namespace":"` + w.Namespace + `"}`}
	listed, err := plugin.List(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, render(listed)); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	shown, err := plugin.Show(ctx, listed[0].ID, protectable.Parameters{"name": json.RawMessage(`"web"`)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, render([]resource.Resource{*shown})); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for name, reason := range map[string]string{"gone": `pods "gone" not found (HTTP 404)`, "waiting": "Pending"} {
		_, err = plugin.Show(ctx, kubernetes.PodID(w.Namespace, name), protectable.Parameters{"name": json.RawMessage(`"` + name + `"`)})
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	mounted, err := registry.Dependents(ctx, listed[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v1", "v2"}, []string{mounted[0].ID, mounted[1].ID}); diff != "" {
		t.Errorf("mounted (-want +got):\n%s", diff)
	}
	of, err := registry.Dependents(ctx, resource.Resource{Type: resource.Project, ID: tenant})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(render(of), "\n"), want[0]) {
		t.Errorf("of the project: %v", render(of))
	}

	refused := protectable.NewRegistry(protectable.Options{}, Plugins(c.Factory, w.Stranger, w.Namespace)...)
	plugin, err = refused.Get(resource.Pod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = plugin.List(ctx, nil); !fault.Is(err, "ListProtectableResourceFailed") || !strings.Contains(err.Error(), "(HTTP 403)") {
		t.Errorf("got %v", err)
	}
}
