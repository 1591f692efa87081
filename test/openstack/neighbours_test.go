// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// neighbour is a project with a topology, an image and a volume.
type neighbour struct {
	*openstacktest.RealProject
	client        *cloudtest.Client
	volume, image string
	bytes         [2][]byte // of volume and image
	topology      []string
	before        []string // what it held
	checkpoint    string
	restore       string
}

func newNeighbour(t *testing.T, s *cloudtest.Site) *neighbour {
	t.Helper()
	n := &neighbour{RealProject: newProject(t)}
	n.client = s.Client(n.RealProject)
	n.CreateNetwork("private") // of the same name and addresses as the other's
	n.topology = cloudtest.Topology(n.RealProject)
	n.volume = n.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "volume"})
	n.WriteVolume(n.volume, 0, openstacktest.Noise(5<<20))
	n.bytes = [2][]byte{n.ReadVolume(n.volume), openstacktest.Noise(100_000)}
	n.image = n.UploadImage("image", n.bytes[1])
	n.before = n.Holdings()
	return n
}

// TestNeighbours lets two projects protect, lose and restore all that they have at
// the same time, with the same worker. Neither sees or reaches what is the
// other's.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	w := s.Start("worker")
	both := [2]*neighbour{newNeighbour(t, s), newNeighbour(t, s)}
	for _, n := range both {
		n.checkpoint = n.client.Protect(resource.Resource{Type: resource.Project, ID: n.ID(), Name: n.Caller.ProjectName})
	}
	for i, n := range both {
		if status := n.client.Settled(n.checkpoint); status != "available" {
			t.Fatalf("checkpoint %s is %s, want available", n.checkpoint, status)
		}
		checkApart(t, n, both[1-i])
	}
	for _, n := range both {
		n.RemoveAll(openstacktest.VolumeBackup)
	}
	for _, n := range both {
		n.restore = n.client.Restore(n.checkpoint, cloudtest.Parameters{resource.Volume: {"restore_name": "volume"}, resource.Image: {"restore_name": "image"}})
	}
	for i, n := range both {
		r := n.client.Finished("restore", n.restore)
		if r.Status != "success" {
			t.Fatalf("restore: %+v", r)
		}
		checkRemarks(t, r)
		both[1-i].client.Refused("RestoreNotFound", "records:show_restore", map[string]any{"restore_id": n.restore})
		if !bytes.Equal(n.bytes[0], n.ReadVolume(onlyOne(t, r, resource.Volume))) || !bytes.Equal(n.bytes[1], n.DownloadImage(onlyOne(t, r, resource.Image))) {
			t.Error("other bytes came back")
		}
		if diff := cmp.Diff(n.topology, cloudtest.Topology(n.RealProject)); diff != "" {
			t.Errorf("the restored topology (-want +got):\n%s", diff)
		}
	}
	both[0].client.Deleted(both[0].checkpoint)
	s.CheckPurged(both[0].checkpoint)
	both[1].client.Verified(both[1].checkpoint)
	both[1].client.Deleted(both[1].checkpoint)
	s.CheckPurged(both[1].checkpoint)
	for _, n := range both {
		checkHolds(t, n.RealProject, "in the end", n.before)
	}
	w.Stop()
}

// checkApart wants a project to see its own checkpoint and none else, its own
// resources and none else, and to be refused the other's.
func checkApart(t *testing.T, n, other *neighbour) {
	t.Helper()
	var listed []cloudtest.Checkpoint
	n.client.Call("list_checkpoints", map[string]any{"provider_id": n.client.Provider, "all_tenants": true}, &listed)
	if len(listed) != 1 || listed[0].ID != n.checkpoint || listed[0].ProjectID != n.ID() {
		t.Errorf("project %s sees checkpoints %+v", n.ID(), listed)
	}
	about := map[string]any{"provider_id": n.client.Provider, "checkpoint_id": other.checkpoint}
	n.client.Refused("CheckpointNotFound", "show_checkpoint", about)
	n.client.Refused("InvalidInput", "delete", about)
	for _, action := range []string{"restore", "verify"} {
		n.client.Refused("CheckpointNotFound", "execute_operation", map[string]any{"action": action, "backup_plan": about})
	}
	for kind, id := range map[string]string{resource.Volume: n.volume, resource.Network: n.ID(), resource.Project: n.ID()} {
		var instances []struct{ ID string }
		n.client.Call("list_protectable_instances", map[string]any{"protectable_type": kind}, &instances)
		if len(instances) != 1 || instances[0].ID != id {
			t.Errorf("project %s sees %v of %s", n.ID(), instances, kind)
		}
	}
	n.client.Refused("ProtectableResourceNotFound", "show_protectable_instance",
		map[string]any{"protectable_type": resource.Volume, "protectable_id": other.volume})
	n.client.Refused("ProtectableResourceNotFound", "show_protectable_instance",
		map[string]any{"protectable_type": resource.Image, "protectable_id": other.image})
}
