// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// shop makes the pod of newCluster on a real API server.
func shop(t *testing.T, w kubernetestest.World) resource.Resource {
	t.Helper()
	volume := "pv-" + w.Namespace
	w.Put(t, kubernetestest.Volume(volume, `"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "`+claimed+`", "fsType": "ext4"}`))
	w.Put(t, kubernetestest.Claim(w.Namespace, "db", volume))
	manifest := kubernetestest.Manifest("web")
	manifest["metadata"].(map[string]any)["annotations"] = map[string]any{"cni": "10.0.0.7"}
	manifest["spec"] = map[string]any{
		"containers": []any{map[string]any{
			"name": "main", "image": "nginx:1.25", "command": []any{"nginx"}, "args": []any{"-g", "daemon off;"},
			"env":            []any{map[string]any{"name": "MODE", "value": "shop"}},
			"ports":          []any{map[string]any{"containerPort": 80, "protocol": "TCP"}},
			"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/", "port": 80}},
			"resources":      map[string]any{"requests": map[string]any{"memory": "64Mi", "cpu": "100m"}},
			"volumeMounts": []any{
				map[string]any{"name": "data", "mountPath": "/data"},
				map[string]any{"name": "logs", "mountPath": "/logs", "readOnly": true},
				map[string]any{"name": "settings", "mountPath": "/etc/nginx"},
			},
		}},
		"initContainers": []any{map[string]any{"name": "first", "image": "busybox", "volumeMounts": []any{map[string]any{"name": "data", "mountPath": "/data"}}}},
		"volumes": []any{
			map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "db"}},
			map[string]any{"name": "logs", "cinder": map[string]any{"volumeID": direct, "fsType": "xfs"}},
			map[string]any{"name": "settings", "configMap": map[string]any{"name": "nginx"}},
		},
	}
	_, err := w.Client.CreatePod(t.Context(), w.Namespace, manifest)
	must(t, err)
	w.Start(t, "web")
	return resource.Resource{Type: resource.Pod, ID: kubernetes.PodID(w.Namespace, "web"), Name: w.Namespace + ":web"}
}

// spec is what of a pod's specification must come back: all but where it runs, the
// volumes that are others now, and the token that each pod gets anew.
func spec(t *testing.T, p *kubernetes.Pod) map[string]any {
	t.Helper()
	var object map[string]any
	must(t, json.Unmarshal(p.Raw, &object))
	spec := inner(object, "spec")
	delete(spec, "nodeName")
	var volumes []any
	for _, v := range list(spec, "volumes") {
		if isToken(v) {
			continue
		}
		if v["persistentVolumeClaim"] != nil || v["cinder"] != nil {
			v = map[string]any{"name": v["name"]}
		}
		volumes = append(volumes, v)
	}
	spec["volumes"] = volumes
	for _, container := range append(list(spec, "containers"), list(spec, "initContainers")...) {
		var mounts []any
		for _, m := range list(container, "volumeMounts") {
			if name, _ := m["name"].(string); !strings.HasPrefix(name, "kube-api-access-") {
				mounts = append(mounts, m)
			}
		}
		container["volumeMounts"] = mounts
	}
	return spec
}

// A pod is protected, deleted and brought back with restored volumes, on a real API server.
func TestRealKubernetes(t *testing.T) {
	s := kubernetestest.Real(t)
	w, h := s.World(t), plugintest.New(t)
	pod := shop(t, w)
	p, ctx := withVolumes{New(poll.Config{PollInterval: time.Millisecond}, w.Client)}, openstacktest.Context(t)
	was, err := w.Client.Pod(ctx, w.Namespace, "web")
	must(t, err)

	must(t, h.Run(ctx, p, protection.Protect, h.Call(pod)))
	// That of the fake, but for the names, and null where this pod has nothing.
	want := strings.NewReplacer(`"shop`, `"`+w.Namespace, `{"app": "web", "tier": "front"}`, `{"app": "web"}`).Replace(original)
	if diff := cmp.Diff(want, h.Text(pod, "metadata")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	must(t, h.Run(ctx, p, protection.Verify, h.Call(pod)))

	must(t, w.Client.DeletePod(ctx, w.Namespace, "web", was.Metadata.UID))
	w.End(t, "web")
	s.Kubelet(t, w.Namespace)
	must(t, h.Run(ctx, p, protection.Restore, h.Call(pod, "restore_name", "back")))
	back, err := w.Client.Pod(ctx, w.Namespace, "back")
	must(t, err)
	if diff := cmp.Diff(spec(t, was), spec(t, back)); diff != "" {
		t.Errorf("spec (-was +is):\n%s", diff)
	}
	volumes := map[string]string{}
	for _, v := range back.Spec.Volumes {
		if v.Cinder != nil {
			volumes[v.Name] = v.Cinder.VolumeID
		}
	}
	if diff := cmp.Diff(map[string]string{"data": restoredClaimed, "logs": restoredDirect}, volumes); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	if back.Metadata.Labels["app"] != "web" || back.Metadata.Annotations["cni"] != "" || back.Status.Phase != "Running" {
		t.Errorf("it is %s", back.Raw)
	}

	// For another restore the name is taken; what is there is left alone.
	h.State = &plugintest.State{}
	err = h.Run(ctx, p, protection.Restore, h.Call(pod, "restore_name", "back"))
	if !fault.Is(err, "RestoreResourceFailed") || !strings.Contains(err.Error(), `pods "back" already exists (HTTP 409)`) {
		t.Errorf("got %v", err)
	}
	again, err := w.Client.Pod(ctx, w.Namespace, "back")
	if err != nil || again.Metadata.UID != back.Metadata.UID || again.Metadata.Deleted != nil {
		t.Errorf("got %v, %v", again, err)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(pod)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(pod)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// What RBAC refuses fails with its words.
func TestRealKubernetesRefuses(t *testing.T) {
	s := kubernetestest.Real(t)
	w, h := s.World(t), plugintest.New(t)
	pod := shop(t, w)
	ctx := openstacktest.Context(t)
	err := h.Run(ctx, New(poll.Config{PollInterval: time.Millisecond}, w.Stranger), protection.Protect, h.Call(pod))
	want := `pods "web" is forbidden: User "stranger" cannot get resource "pods" in API group "" in the namespace "` + w.Namespace + `" (HTTP 403)`
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Client.Pod(ctx, w.Namespace, "other"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// The nulls that the original keeps are no hindrance to a real API server.
func TestRealKubernetesCheckpointOfTheOriginal(t *testing.T) {
	s := kubernetestest.Real(t)
	w, h := s.World(t), plugintest.New(t)
	pod := resource.Resource{Type: resource.Pod, ID: kubernetes.PodID(w.Namespace, "web"), Name: w.Namespace + ":web"}
	p, ctx := withVolumes{New(poll.Config{PollInterval: time.Millisecond}, w.Client)}, openstacktest.Context(t)
	section := h.Call(pod).Section
	must(t, section.PutText(ctx, "status", "available"))
	must(t, section.PutText(ctx, "metadata", strings.ReplaceAll(original, `"shop`, `"`+w.Namespace)))
	s.Kubelet(t, w.Namespace)
	must(t, h.Run(ctx, p, protection.Restore, h.Call(pod)))
	name, _ := h.NewResources.Get(pod.ID)
	back, err := w.Client.Pod(ctx, w.Namespace, name)
	must(t, err)
	if len(back.Spec.Volumes) != 3 || back.Spec.Volumes[0].Cinder.VolumeID != restoredClaimed || back.Spec.Volumes[1].Cinder.VolumeID != restoredDirect { // and the token
		t.Errorf("it is %s", back.Raw)
	}
}
