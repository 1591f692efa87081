// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// Claim returns the manifest of a claim, bound to a volume unless that is "".
func Claim(namespace, name, volume string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": %q, "name": %q}, "spec": {
		"accessModes": ["ReadWriteOnce"], "storageClassName": "cinder", "resources": {"requests": {"storage": "1Gi"}}, "volumeName": %q}}`, namespace, name, volume)
}

// Volume returns the manifest of a volume with a source, such as `"nfs": {...}`.
func Volume(name, source string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": %q}, "spec": {
		"accessModes": ["ReadWriteOnce"], "storageClassName": "cinder", "capacity": {"storage": "1Gi"}, %s}}`, name, source)
}

// claimed returns a volume of a pod that is a claim.
func claimed(claim string) kubernetes.Volume {
	v := kubernetes.Volume{Name: "data"}
	v.Claim = &struct {
		Name string `json:"claimName"`
	}{claim}
	return v
}

// volumes checks how claims of every form are resolved. Names of volumes have no
// namespace, so the check makes them unique.
func volumes(t *testing.T, w World) {
	yes, ext4 := true, "ext4"
	for claim, tc := range map[string]struct {
		source string
		want   *kubernetes.Cinder
	}{
		"intree":   {`"cinder": {"volumeID": "v-1", "fsType": "ext4"}`, &kubernetes.Cinder{VolumeID: "v-1", FSType: &ext4}},
		"plain":    {`"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "v-2"}`, &kubernetes.Cinder{VolumeID: "v-2"}},
		"readonly": {`"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "v-3", "readOnly": true, "fsType": "ext4"}`, &kubernetes.Cinder{VolumeID: "v-3", FSType: &ext4, ReadOnly: &yes}},
		"other":    {`"csi": {"driver": "rbd.csi.ceph.com", "volumeHandle": "v-4"}`, nil},
		"nfs":      {`"nfs": {"server": "s", "path": "/"}`, nil},
		"unbound":  {"", nil},
	} {
		volume := ""
		if tc.source != "" {
			volume = "pv-" + claim + "-" + w.Namespace
			w.Put(t, Volume(volume, tc.source))
		}
		w.Put(t, Claim(w.Namespace, claim, volume))
		got, err := w.Client.CinderVolume(t.Context(), w.Namespace, claimed(claim))
		must(t, err)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", claim, diff)
		}
	}
	w.Put(t, Claim(w.Namespace, "dangling", "pv-gone-"+w.Namespace))
	for _, claim := range []string{"nowhere", "dangling"} {
		if _, err := w.Client.CinderVolume(t.Context(), w.Namespace, claimed(claim)); !errors.Is(err, kubernetes.ErrNotFound) {
			t.Errorf("%s: got %v", claim, err)
		}
	}
	direct := kubernetes.Volume{Name: "logs", Cinder: &kubernetes.Cinder{VolumeID: "v-9"}}
	if got, err := w.Client.CinderVolume(t.Context(), w.Namespace, direct); err != nil || got.VolumeID != "v-9" {
		t.Errorf("got %v, %v", got, err)
	}
}
