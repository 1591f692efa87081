// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A project with one of everything that Nova and Neutron have is empty again
// when all of that has been removed in the order that these demand.
func TestRealServer(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, append(withVolumes, "KARBOR_TEST_NOVA", "KARBOR_TEST_NEUTRON")...)
	network, subnet := p.CreateNetwork("private")
	before := p.Inventory()
	router := p.Create(Router, map[string]any{"name": "router", "external_gateway_info": map[string]any{"network_id": p.PublicNetwork()}})
	p.Plug(router, subnet)
	group := p.Create(SecurityGroup, map[string]any{"name": "web"})
	port := p.Create(Port, map[string]any{"network_id": network, "security_groups": []string{group}, "name": "port"})
	pair := p.Create(KeyPair, map[string]any{"name": "pair"})
	picture := Noise(100_000)
	image := p.UploadImage("disk", picture)
	server := p.CreateServer("server", network, map[string]any{
		"imageRef": image, "key_name": pair, "networks": []any{map[string]any{"port": port}},
	})
	if shown := p.Show(Port, port); shown["status"] != "ACTIVE" || shown["device_id"] != server {
		t.Errorf("the port: %v", shown)
	}
	floating := p.Create(FloatingIP, map[string]any{"floating_network_id": p.PublicNetwork(), "port_id": port})
	volume := p.Create(Volume, map[string]any{"size": 1})
	p.Attach(server, volume)
	backup := p.Create(VolumeBackup, map[string]any{"volume_id": volume, "force": true, "container": "backups"})
	p.Await(Volume, volume, "in-use")
	snapshot := p.CreateServerImage(server, "snapshot")
	if data := p.DownloadImage(snapshot); !bytes.Equal(data, picture) {
		t.Errorf("the image of the server has %d bytes, and other ones than what it was booted from", len(data))
	}
	p.Detach(server, volume)

	p.Delete(FloatingIP, floating)
	p.Delete(Server, server)
	p.Delete(VolumeBackup, backup)
	p.Delete(Volume, volume)
	p.Delete(Image, snapshot)
	p.Delete(Image, image)
	p.Delete(KeyPair, pair)
	p.Delete(Port, port)
	p.Delete(SecurityGroup, group)
	must(t, p.call(p.ctx, Router, "PUT", "routers/"+router+"/remove_router_interface", map[string]any{"subnet_id": subnet}, nil))
	p.Delete(Router, router)
	p.RemoveContainer("backups")
	if diff := cmp.Diff(before, p.Inventory()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// A server that has its disk in a volume makes its images there.
func TestRealServerOfVolume(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, append(withVolumes, "KARBOR_TEST_NOVA", "KARBOR_TEST_NEUTRON")...)
	network, _ := p.CreateNetwork("private")
	disk := p.Create(Volume, map[string]any{"size": 1, "imageRef": p.PublicImage("tiny")})
	server := p.CreateServer("server", network, map[string]any{"block_device_mapping_v2": []any{
		map[string]any{"uuid": disk, "source_type": "volume", "destination_type": "volume", "boot_index": 0},
	}})
	p.Await(Volume, disk, "in-use")
	p.CreateServerImage(server, "of a volume")
	snapshots := 0
	for _, line := range p.Inventory() {
		if strings.HasPrefix(line, VolumeSnapshot.name+" ") {
			snapshots++
		}
	}
	if snapshots != 1 {
		t.Errorf("%d snapshots of volumes: %v", snapshots, p.Inventory())
	}
	faulty := p.Make(Server, map[string]any{
		"name": "fail-create", "imageRef": p.PublicImage("tiny"), "flavorRef": p.Flavor("m1.nano"), "networks": []any{map[string]any{"uuid": network}},
	})
	p.Await(Server, faulty, "ERROR")
}

// What is in a share when it is snapshotted is in shares that are made of the
// snapshot.
func TestRealShare(t *testing.T) {
	t.Parallel()
	p := NewRealProject(t, "KARBOR_TEST_MANILA", "KARBOR_TEST_SHARES")
	before := p.Inventory()
	share := p.Create(Share, map[string]any{"share_proto": "NFS", "size": 1, "display_name": "share"})
	file := func(id string) string { return filepath.Join(ShareFolder(id), "folder", "file") }
	must(t, os.MkdirAll(filepath.Dir(file(share)), 0o755))
	want := Noise(1000)
	must(t, os.WriteFile(file(share), want, 0o644))
	snapshot := p.Create(ShareSnapshot, map[string]any{"share_id": share, "display_name": "snapshot"})
	must(t, os.Remove(file(share)))
	second := p.Create(Share, map[string]any{"share_proto": "NFS", "size": 1, "snapshot_id": snapshot})
	got, err := os.ReadFile(file(second))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the share of the snapshot has other content")
	}
	p.Update(Share, share, map[string]any{"display_name": "fail-snapshot"})
	faulty := p.Make(ShareSnapshot, map[string]any{"share_id": share})
	p.Await(ShareSnapshot, faulty, "error")
	p.Delete(ShareSnapshot, faulty)
	p.Delete(Share, second)
	p.Delete(ShareSnapshot, snapshot)
	p.Delete(Share, share)
	if _, err := os.Stat(ShareFolder(share)); !os.IsNotExist(err) {
		t.Errorf("the folder of a deleted share: %v", err)
	}
	if diff := cmp.Diff(before, p.Inventory()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}
