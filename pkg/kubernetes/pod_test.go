// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
)

func manifest(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "busybox"}}},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPodComesAndGoes(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	made, err := c.CreatePod(t.Context(), "default", manifest("web"))
	must(t, err)
	if made.Metadata.UID == "" || made.Metadata.Namespace != "default" || made.Status.Phase != "Pending" {
		t.Errorf("made %s", made.Raw)
	}
	if _, err := c.CreatePod(t.Context(), "default", manifest("web")); !kubernetes.IsAlreadyExists(err) || kubernetes.IsTransient(err) {
		t.Errorf("a second of the name: %v", err)
	}
	if _, err := c.CreatePod(t.Context(), "default", manifest("No Name")); err == nil || kubernetes.IsAlreadyExists(err) {
		t.Errorf("a wrong name: %v", err)
	}
	if err := c.DeletePod(t.Context(), "default", "web", "another"); !kubernetes.IsConflict(err) {
		t.Errorf("delete another: %v", err)
	}
	must(t, c.DeletePod(t.Context(), "default", "web", made.Metadata.UID))
	going, err := c.Pod(t.Context(), "default", "web")
	must(t, err)
	if going.Metadata.Deleted == nil {
		t.Errorf("it is not on its way: %s", going.Raw)
	}
	if _, err := c.Pod(t.Context(), "default", "web"); !errors.Is(err, kubernetes.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	c.PageSize = 2
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		_, err := c.CreatePod(t.Context(), "default", manifest(name))
		must(t, err)
	}
	pods, err := c.Pods(t.Context(), "default")
	must(t, err)
	if len(pods) != 5 || pods[4].Metadata.Name != "e" {
		t.Errorf("%d pods", len(pods))
	}
}

// A server that asks to come back later is asked again, and nobody else.
func TestLater(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	const path = "POST /api/v1/namespaces/default/pods"
	c.Later(path, http.StatusTooManyRequests, 0)
	_, err := c.CreatePod(t.Context(), "default", manifest("web"))
	must(t, err)
	if n := len(c.Asked(path)); n != 2 {
		t.Errorf("asked %d times", n)
	}
	c.Refuse(path, http.StatusServiceUnavailable, "ServiceUnavailable")
	if _, err := c.CreatePod(t.Context(), "default", manifest("mail")); !kubernetes.IsTransient(err) {
		t.Errorf("got %v", err)
	}
	if n := len(c.Asked(path)); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestCinderVolumes(t *testing.T) {
	t.Parallel()
	c := kubernetestest.New(t)
	for name, pv := range map[string]string{
		"intree": `"cinder": {"volumeID": "v-1", "fsType": "ext4"}`,
		"csi":    `"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "v-2", "readOnly": true}`,
		"nfs":    `"nfs": {"server": "s", "path": "/"}`,
	} {
		c.Add(t, `{"kind": "PersistentVolumeClaim", "metadata": {"namespace": "default", "name": "`+name+`"}, "spec": {"volumeName": "pv-`+name+`"}}`)
		c.Add(t, `{"kind": "PersistentVolume", "metadata": {"name": "pv-`+name+`"}, "spec": {`+pv+`}}`)
	}
	c.Add(t, `{"kind": "PersistentVolumeClaim", "metadata": {"namespace": "default", "name": "unbound"}, "spec": {}}`)
	for claim, want := range map[string]string{"intree": "v-1", "csi": "v-2", "nfs": "", "unbound": ""} {
		v := kubernetes.Volume{Name: "data", Claim: &struct {
			Name string `json:"claimName"`
		}{claim}}
		got, err := c.CinderVolume(t.Context(), "default", v)
		must(t, err)
		if (got == nil) != (want == "") || got != nil && got.VolumeID != want {
			t.Errorf("%s: %+v", claim, got)
		}
	}
}
