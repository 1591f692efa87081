// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestMain(m *testing.M) { leaktest.Main(kubernetestest.Tests{M: m}) }

var web = resource.Resource{Type: resource.Pod, ID: "5503ec3d-2963-5762-9af8-5b451629a2d5", Name: "shop:web"}

// original is what the original keeps of the pod.
const original = `{"resource_id": "5503ec3d-2963-5762-9af8-5b451629a2d5", "resource_name": "shop:web", "namespace": "shop", "pod_metadata": {` +
	`"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"app": "web", "tier": "front"}, "name": "web", "namespace": "shop"}, "spec": {` +
	`"containers": [{"command": ["nginx"], "image": "nginx:1.25", "name": "main", "resources": {"limits": null, "requests": {"cpu": "100m", "memory": "64Mi"}}, ` +
	`"volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": null}, {"name": "logs", "mountPath": "/logs", "readOnly": true}, {"name": "settings", "mountPath": "/etc/nginx", "readOnly": null}]}], ` +
	`"volumes": [{"name": "data", "cinder": {"volumeID": "` + claimed + `", "fsType": "ext4", "readOnly": null}}, {"name": "logs", "cinder": {"volumeID": "` + direct + `", "fsType": "xfs", "readOnly": null}}], ` +
	`"restartPolicy": "Always"}}}`

func plugin(c *kubernetestest.Cluster) protection.Plugin {
	return withVolumes{New(poll.Config{PollInterval: time.Millisecond}, c.Client)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(newCluster(t)))
}

// text is a part of an object as JSON.
func text(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	p, ctx := plugin(c), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
	if diff := cmp.Diff(original, h.Text(web, "metadata")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := h.Text(web, "status"); got != "available" {
		t.Errorf("status is %s", got)
	}
	must(t, h.Run(ctx, p, protection.Verify, h.Call(web)))

	h.Remarks = &plugintest.Remarks{} // of another operation
	must(t, h.Run(ctx, p, protection.Restore, h.Call(web, "restore_name", "back")))
	if name, _ := h.NewResources.Get(web.ID); name != "back" {
		t.Errorf("the new pod is %s", name)
	}
	back := c.Object("pods", "shop", "back")
	spec := text(t, inner(back, "spec"))
	for _, want := range []string{
		`"args":["-g","daemon off;"]`, `"command":["nginx"]`, `{"configMap":{"name":"nginx"},"name":"settings"}`,
		`{"cinder":{"fsType":"ext4","readOnly":null,"volumeID":"` + restoredClaimed + `"},"name":"data"}`,
		`{"cinder":{"fsType":"xfs","readOnly":null,"volumeID":"` + restoredDirect + `"},"name":"logs"}`,
	} {
		if !strings.Contains(spec, want) {
			t.Errorf("no %s in the spec\n%s", want, spec)
		}
	}
	metadata := inner(back, "metadata")
	if labels := text(t, metadata["labels"]); labels != `{"app":"web","tier":"front"}` {
		t.Errorf("labels are %s", labels)
	}
	if inner(metadata, "annotations")["cni"] != nil {
		t.Errorf("annotations are %v", metadata["annotations"])
	}
	records := []plugintest.Record{
		{Type: web.Type, ID: web.ID, Status: "available"},
		{Type: web.Type, ID: "back", Status: "restoring"},
		{Type: web.Type, ID: "back", Status: "available"},
	}
	if diff := cmp.Diff(records, h.Status.Records()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}

	must(t, h.Run(ctx, p, protection.Delete, h.Call(web)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(web)); diff != "" || h.Text(web, "status") != "deleted" {
		t.Errorf("left (-want +got):\n%s, status %s", diff, h.Text(web, "status"))
	}
}

// What the original has written is restored, as far as it goes: what is mounted
// of volumes that it did not keep is not mounted.
func TestCheckpointOfTheOriginal(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	p, ctx := plugin(c), openstacktest.Context(t)
	section := h.Call(web).Section
	must(t, section.PutText(ctx, "status", "available"))
	must(t, section.PutText(ctx, "metadata", original))
	must(t, h.Run(ctx, p, protection.Verify, h.Call(web)))
	must(t, h.Run(ctx, p, protection.Restore, h.Call(web)))
	name, _ := h.NewResources.Get(web.ID)
	if !strings.HasPrefix(name, "karbor-restored-pod-") {
		t.Errorf("the name is %s", name)
	}
	spec := text(t, inner(c.Object("pods", "shop", name), "spec"))
	if !strings.Contains(spec, restoredClaimed) || strings.Contains(spec, "settings") {
		t.Errorf("spec is %s", spec)
	}
	must(t, h.Run(ctx, p, protection.Delete, h.Call(web)))
	if diff := cmp.Diff([]string{"status"}, h.Keys(web)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// A pod that has done its work before anybody looks counts as restored.
func TestPodThatHasEnded(t *testing.T) {
	t.Parallel()
	c, h := newCluster(t), plugintest.New(t)
	p, ctx := plugin(c), openstacktest.Context(t)
	must(t, h.Run(ctx, p, protection.Protect, h.Call(web)))
	c.Phase = "Succeeded"
	must(t, h.Run(ctx, p, protection.Restore, h.Call(web)))
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/schemas.json")
	must(t, err)
	var want map[string]any
	must(t, json.Unmarshal(data, &want))
	got := map[string]any{}
	for name, schema := range map[string]json.RawMessage{"OPTIONS_SCHEMA": schemas.Options, "RESTORE_SCHEMA": schemas.Restore, "SAVED_INFO_SCHEMA": schemas.SavedInfo, "VERIFY_SCHEMA": schemas.Verify} {
		var value any
		must(t, json.Unmarshal(schema, &value))
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What of a pod is not in its backup is known when it is protected.
func TestWhatNoRestoreBringsBackIsRemarked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pod  string
		want map[string]string
	}{
		"nothing": {`{"metadata": {"name": "web"}, "spec": {"serviceAccountName": "default", "containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}],
			"volumes": [{"name": "kube-api-access-1", "projected": {}}]}}`, map[string]string{}},
		"all": {`{"metadata": {"name": "web", "annotations": {"cni": "10.0.0.7"}, "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1"}]},
			"spec": {"serviceAccountName": "deployer", "imagePullSecrets": [{"name": "registry"}],
				"containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "settings"}}], "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "password", "key": "p"}}}]}],
				"volumes": [{"name": "c", "configMap": {"name": "settings"}}, {"name": "s", "secret": {"secretName": "tls"}}]}}`,
			map[string]string{"annotations of a pod": "cni -> ", "owners of a pod": "ReplicaSet web-1 -> ",
				"references of a pod": "config map settings, secret password, secret registry, secret tls, service account deployer -> "}},
	} {
		h := plugintest.New(t)
		must(t, remarkUnkept(h.Call(resource.Resource{Type: resource.Pod, ID: "p"}), json.RawMessage(c.pod)))
		if diff := cmp.Diff(c.want, h.Remarks.Aspects()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
