// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// TestPod loses a pod of a real API server and the two volumes of Cinder that are
// mounted in it, one of them claimed. The plan names the pod alone.
func TestPod(t *testing.T) {
	t.Parallel()
	cluster := kubernetestest.Real(t)
	s := cloudtest.NewFor(t, cloudtest.Pods)
	w, p := cluster.World(t), openstacktest.NewRealProject(t, cloudtest.Pods.Needs...)
	s.Conf.Set("k8s_client", "kubeconfig", cluster.File("karbor.conf"))
	s.Conf.Set("pod_protectable", "namespace", w.Namespace)
	parameters := cloudtest.Parameters{resource.Pod: {"restore_name": "back"}}
	written := map[string][]byte{} // by volume of the pod
	old := map[string]string{}
	for _, name := range []string{"data", "logs"} {
		id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": name})
		p.WriteVolume(id, 2<<20, openstacktest.Noise(1<<20+1))
		old[name], written[name] = id, p.ReadVolume(id)
		parameters[resource.Volume+"#"+id] = map[string]any{"restore_name": name}
	}
	w.Put(t, kubernetestest.Volume("pv-"+w.Namespace, `"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "`+old["data"]+`", "fsType": "ext4"}`))
	w.Put(t, kubernetestest.Claim(w.Namespace, "db", "pv-"+w.Namespace))
	cluster.Kubelet(t, w.Namespace)
	manifest := kubernetestest.Manifest("web")
	manifest["spec"].(map[string]any)["volumes"] = []any{
		map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "db"}},
		map[string]any{"name": "logs", "cinder": map[string]any{"volumeID": old["logs"], "fsType": "ext4"}},
	}
	made, err := w.Client.CreatePod(t.Context(), w.Namespace, manifest)
	if err != nil {
		t.Fatal(err)
	}
	cloudtest.Await(t, "the pod to run", func() (bool, any) {
		is, err := w.Client.Pod(t.Context(), w.Namespace, "web")
		return err == nil && is.Status.Phase == "Running", err
	})
	before := p.Holdings()
	worker, c := s.Start("worker"), s.Client(p)

	checkpoint := c.Protected(resource.Resource{Type: resource.Pod, ID: kubernetes.PodID(w.Namespace, "web"), Name: w.Namespace + ":web"})
	if n := len(p.List(openstacktest.VolumeBackup)); n != len(old) {
		t.Errorf("%d backups of %d volumes", n, len(old))
	}
	if err := w.Client.DeletePod(t.Context(), w.Namespace, "web", made.Metadata.UID); err != nil {
		t.Fatal(err)
	}
	p.RemoveAll(openstacktest.VolumeBackup)
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, parameters)
	checkRemarks(t, record)
	if diff := cmp.Diff([]string{"back"}, record.IDs(resource.Pod)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	back, err := w.Client.Pod(t.Context(), w.Namespace, "back")
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string]bool{}
	for _, v := range back.Spec.Volumes {
		if v.Cinder == nil { // the token of the pod's account
			continue
		}
		mounted[v.Name] = true
		if v.Cinder.VolumeID == old[v.Name] || !bytes.Equal(written[v.Name], p.ReadVolume(v.Cinder.VolumeID)) {
			t.Errorf("%s is volume %s, with other bytes or the lost one", v.Name, v.Cinder.VolumeID)
		}
	}
	if diff := cmp.Diff(map[string]bool{"data": true, "logs": true}, mounted); diff != "" || back.Status.Phase != "Running" {
		t.Errorf("the pod is %s, its volumes (-want +got):\n%s", back.Status.Phase, diff)
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, p, "in the end", before)
	worker.Stop()
}
