// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/kubernetes/kubernetestest"
)

// The volumes of the pod: one by a claim, one by its id, and what became of them.
const (
	claimed, restoredClaimed = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000001"
	direct, restoredDirect   = "11111111-0000-4000-8000-000000000002", "22222222-0000-4000-8000-000000000002"
)

// newCluster starts a cluster with a pod.
func newCluster(t testing.TB) *kubernetestest.Cluster {
	c := kubernetestest.New(t)
	c.Data = map[string]string{claimed: "rows", direct: "logs", restoredClaimed: "rows", restoredDirect: "logs"}
	c.Add(t, `{"kind": "PersistentVolumeClaim", "metadata": {"namespace": "shop", "name": "db"}, "spec": {"volumeName": "pv-db"}}`)
	c.Add(t, `{"kind": "PersistentVolume", "metadata": {"name": "pv-db"}, "spec": {"csi": {"driver": "cinder.csi.openstack.org", "volumeHandle": "`+claimed+`", "fsType": "ext4"}}}`)
	c.Add(t, `{"kind": "Pod", "metadata": {"namespace": "shop", "name": "web", "labels": {"tier": "front", "app": "web"}, "annotations": {"cni": "10.0.0.7"}}, "spec": {
		"containers": [{
			"name": "main", "image": "nginx:1.25", "command": ["nginx"], "args": ["-g", "daemon off;"],
			"resources": {"requests": {"memory": "64Mi", "cpu": "100m"}},
			"volumeMounts": [
				{"name": "data", "mountPath": "/data"},
				{"name": "logs", "mountPath": "/logs", "readOnly": true},
				{"name": "settings", "mountPath": "/etc/nginx"}]}],
		"volumes": [
			{"name": "data", "persistentVolumeClaim": {"claimName": "db"}},
			{"name": "logs", "cinder": {"volumeID": "`+direct+`", "fsType": "xfs"}},
			{"name": "settings", "configMap": {"name": "nginx"}}]}}`)
	return c
}
