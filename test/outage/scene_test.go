// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/swift"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/cinderbackup"
	"github.com/karbor-project/karbor/providers/protection/image"
	"github.com/karbor-project/karbor/providers/protection/network"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/server"
	"github.com/karbor-project/karbor/providers/protection/share"
	"github.com/karbor-project/karbor/providers/protection/volumeglance"
	"github.com/karbor-project/karbor/providers/protection/volumesnapshot"
)

// A daemon that dies may leave things in a status from which they never come to
// another, and a wait has to end all the same.
const (
	interval    = 500 * time.Millisecond
	pollTimeout = time.Minute
)

// scene is a plugin with a resource in a project of its own.
type scene struct {
	// daemons are those that the plugin needs.
	daemons []string
	plugin  func(f *openstack.Factory) protection.Plugin
	// resource makes what is protected. Parts are what a restore makes before its
	// turn, for which the old ones stand in.
	resource func(p *openstacktest.RealProject) (r resource.Resource, parts []string)
	// same reports whether what was restored holds what the resource does.
	same func(p *openstacktest.RealProject, original, restored string) bool
	// bank, nil: in memory.
	bank func(t testing.TB) bank.Plugin
}

func volume(p *openstacktest.RealProject) (resource.Resource, []string) {
	id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "source"})
	p.WriteVolume(id, 1<<20, openstacktest.Noise(1<<20))
	return resource.Resource{Type: resource.Volume, ID: id, Name: "source"}, nil
}

func sameVolume(p *openstacktest.RealProject, original, restored string) bool {
	return bytes.Equal(p.ReadVolume(original), p.ReadVolume(restored))
}

func inSwift(t testing.TB) bank.Plugin {
	store, err := swift.New(swift.Config{
		AuthURL: os.Getenv("KARBOR_TEST_KEYSTONE"), User: "karbor", Key: "password", Tenant: "service",
		ProjectDomainName: "Default", UserDomainName: "Default", Container: "karbor-outage-test", RetryAttempts: 10, RetryBackoff: time.Second,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func inMemory(testing.TB) bank.Plugin { return banktest.NewMemory() }

var scenes = map[string]scene{
	"volume backup": {
		daemons: []string{"cinder-api", "cinder-volume", "cinder-backup", "keystone", "swift-proxy"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return cinderbackup.New(cinderbackup.Config{Config: poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, FromSnapshot: true}, f)
		},
		resource: volume, same: sameVolume,
	},
	"volume snapshot": {
		daemons: []string{"cinder-api", "cinder-volume"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return volumesnapshot.New(poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, f)
		},
		resource: volume, same: sameVolume,
	},
	"volume through Glance": {
		daemons: []string{"glance", "cinder-volume"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return volumeglance.New(volumeglance.Config{Config: poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, FromSnapshot: true, ObjectSize: 4 << 20}, f)
		},
		resource: volume, same: sameVolume,
	},
	"image": {
		daemons: []string{"glance", "keystone", "swift-proxy"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return image.New(image.Config{ObjectSize: 1 << 20, Config: poll.Config{PollInterval: interval, PollTimeout: pollTimeout}}, f)
		},
		resource: func(p *openstacktest.RealProject) (resource.Resource, []string) {
			return resource.Resource{Type: resource.Image, ID: p.UploadImage("disk", openstacktest.Noise(5<<20)), Name: "disk"}, nil
		},
		same: func(p *openstacktest.RealProject, original, restored string) bool {
			return bytes.Equal(p.DownloadImage(original), p.DownloadImage(restored))
		},
		bank: inSwift,
	},
	"share": {
		daemons: []string{"manila-api", "manila-share"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return share.New(poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, f)
		},
		resource: func(p *openstacktest.RealProject) (resource.Resource, []string) {
			id := p.Create(openstacktest.Share, map[string]any{"name": "home", "size": 1, "share_proto": "NFS"})
			if err := os.WriteFile(filepath.Join(openstacktest.ShareFolder(id), "letter"), openstacktest.Noise(1000), 0o644); err != nil {
				panic(err)
			}
			return resource.Resource{Type: resource.Share, ID: id, Name: "home"}, nil
		},
		same: func(_ *openstacktest.RealProject, original, restored string) bool {
			was, err := os.ReadFile(filepath.Join(openstacktest.ShareFolder(original), "letter"))
			is, otherErr := os.ReadFile(filepath.Join(openstacktest.ShareFolder(restored), "letter"))
			return err == nil && otherErr == nil && bytes.Equal(was, is)
		},
	},
	"server": {
		daemons: []string{"nova-api", "neutron"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return server.New(poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, f)
		},
		resource: func(p *openstacktest.RealProject) (resource.Resource, []string) {
			network, _ := p.CreateNetwork("private")
			disk := p.UploadImage("disk", openstacktest.Noise(1000))
			id := p.CreateServer("vm", network, map[string]any{"imageRef": disk})
			return resource.Resource{Type: resource.Server, ID: id, Name: "vm"}, []string{disk}
		},
		same: func(p *openstacktest.RealProject, _, restored string) bool {
			return p.Show(openstacktest.Server, restored)["status"] == "ACTIVE"
		},
	},
	"network": {
		daemons: []string{"neutron"},
		plugin: func(f *openstack.Factory) protection.Plugin {
			return network.New(poll.Config{PollInterval: interval, PollTimeout: pollTimeout}, f)
		},
		resource: func(p *openstacktest.RealProject) (resource.Resource, []string) {
			p.CreateNetwork("private")
			return resource.Resource{Type: resource.Network, ID: p.ID(), Name: "Network Topology"}, nil
		},
	},
}
