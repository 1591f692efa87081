// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/test/openstack/cloudtest"
)

// office is a project with everything: a server with two volumes, of an image, on
// ports of its topology, another image, a spare volume and a share.
type office struct {
	*openstacktest.RealProject
	server, image, picture, share string
	volumes                       []string
	names                         cloudtest.Parameters // by which what is restored is called as it was
	pictured, shared              []byte
}

const sharedFile = "folder/file"

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{RealProject: newProject(t), pictured: openstacktest.Noise(300_001), shared: openstacktest.Noise(5001)}
	o.names = cloudtest.Parameters{resource.Server: {"restore_name": "vm"}}
	makeTopology(o.RealProject)
	o.image = o.UploadImage("disk", openstacktest.Noise(1<<20))
	ports := []any{}
	for _, name := range []string{"bare", "first"} {
		ports = append(ports, map[string]any{"port": o.List(openstacktest.Port, "name", name)[0]["id"]})
	}
	o.server = o.CreateServer("vm", "", map[string]any{"imageRef": o.image, "networks": ports})
	for _, name := range []string{"one", "two"} {
		o.Attach(o.server, o.volume(name))
	}
	o.named(resource.Image, o.image, "disk")
	return o
}

func (o *office) volume(name string) string {
	id := o.Create(openstacktest.Volume, map[string]any{"size": 1, "name": name})
	o.WriteVolume(id, 5<<20, openstacktest.Noise(2<<20+1))
	o.volumes = append(o.volumes, id)
	o.named(resource.Volume, id, name)
	return id
}

// more adds what is not the server's.
func (o *office) more(t *testing.T) {
	t.Helper()
	o.volume("spare")
	o.picture = o.UploadImage("picture", o.pictured)
	o.named(resource.Image, o.picture, "picture")
	o.share = o.Create(openstacktest.Share, map[string]any{"share_proto": "NFS", "size": 1, "name": "share"})
	o.named(resource.Share, o.share, "share")
	o.writeShare(t, o.share)
}

func (o *office) named(kind, id, name string) {
	o.names[kind+"#"+id] = map[string]any{"restore_name": name}
}

func (o *office) writeShare(t *testing.T, id string) {
	t.Helper()
	file := filepath.Join(openstacktest.ShareFolder(id), sharedFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, o.shared, 0o644); err != nil {
		t.Fatal(err)
	}
}

// portrait is of the server and of the topology that it is in.
func (o *office) portrait(server string) []string {
	return append(cloudtest.Portrait(o.RealProject, server), cloudtest.Topology(o.RealProject)...)
}

// TestPlan protects a server and the topology that it is in, with one plan: the
// restored server is on the restored ports, with their addresses.
func TestPlan(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	o := newOffice(t)
	want, before := o.portrait(o.server), o.Holdings()
	w, c := s.Start("worker"), s.Client(o.RealProject)

	checkpoint := c.Protected(resource.Resource{Type: resource.Server, ID: o.server, Name: "vm"}, topology(o.RealProject))
	backups := len(o.List(openstacktest.VolumeBackup))
	if backups != len(o.volumes) {
		t.Errorf("%d backups of %d volumes", backups, len(o.volumes))
	}
	o.RemoveAll(openstacktest.VolumeBackup)
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, o.names)
	checkRemarks(t, record)
	if diff := cmp.Diff(want, o.portrait(onlyOne(t, record, resource.Server))); diff != "" {
		t.Errorf("what was restored (-want +got):\n%s", diff)
	}
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, o.RealProject, "in the end", before)
	w.Stop()
}

// TestProject protects all that a project has, with a plan that names nothing but
// the project. Manila's snapshots keep their share, so that one is there still.
func TestProject(t *testing.T) {
	t.Parallel()
	s := cloudtest.New(t)
	o := newOffice(t)
	o.more(t)
	want, before := o.portrait(o.server), o.Holdings()
	spare := o.ReadVolume(o.volumes[2])
	w, c := s.Start("worker"), s.Client(o.RealProject)

	checkpoint := c.Protected(resource.Resource{Type: resource.Project, ID: o.ID(), Name: o.Caller.ProjectName})
	o.RemoveAll(openstacktest.VolumeBackup, openstacktest.Share, openstacktest.ShareSnapshot)
	c.Verified(checkpoint)
	record := c.Restored(checkpoint, o.names)
	checkRemarks(t, record)
	if diff := cmp.Diff(want, o.portrait(onlyOne(t, record, resource.Server))); diff != "" {
		t.Errorf("what was restored (-want +got):\n%s", diff)
	}
	if !bytes.Equal(spare, o.ReadVolume(o.restored(t, openstacktest.Volume, "spare"))) {
		t.Error("other bytes came back in the spare volume")
	}
	if !bytes.Equal(o.pictured, o.DownloadImage(o.restored(t, openstacktest.Image, "picture"))) {
		t.Error("other bytes came back in the picture")
	}
	share := onlyOne(t, record, resource.Share)
	if data, err := os.ReadFile(filepath.Join(openstacktest.ShareFolder(share), sharedFile)); err != nil || !bytes.Equal(data, o.shared) {
		t.Errorf("other bytes came back in the share: %v", err)
	}
	o.Delete(openstacktest.Share, share)
	c.Deleted(checkpoint)
	s.CheckPurged(checkpoint)
	checkHolds(t, o.RealProject, "in the end", before)
	w.Stop()
}

// restored returns the only resource of a name.
func (o *office) restored(t *testing.T, k openstacktest.Kind, name string) string {
	t.Helper()
	found := o.List(k, "name", name)
	if len(found) != 1 {
		t.Fatalf("%d of name %s", len(found), name)
	}
	return found[0]["id"].(string)
}
