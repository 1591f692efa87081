// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// realCloud is a project of a real cloud with one of each: a server that was
// booted from an image and has a volume, another volume, a share; and with a
// volume and a share that are broken.
type realCloud struct {
	*openstacktest.RealProject
	registry                      *protectable.Registry
	image, server, attached       string
	spare, broken, share, unshare string
}

func newRealCloud(t *testing.T) *realCloud {
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_CINDER", "KARBOR_TEST_GLANCE", "KARBOR_TEST_MANILA", "KARBOR_TEST_NEUTRON", "KARBOR_TEST_NOVA")
	c := &realCloud{RealProject: p}
	c.registry = protectable.NewRegistry(protectable.Options{}, Plugins(p.Factory, client.New(kubernetes.Config{}), "default")...)
	network, _ := p.CreateNetwork("private")
	c.image = p.UploadImage("disk", openstacktest.Noise(1000))
	c.server = p.CreateServer("vm", network, map[string]any{"imageRef": c.image})
	volume := func(name string) string {
		return p.Make(openstacktest.Volume, map[string]any{"name": name, "size": 1})
	}
	share := func(name string) string {
		return p.Make(openstacktest.Share, map[string]any{"name": name, "size": 1, "share_proto": "NFS"})
	}
	c.attached, c.spare, c.broken = volume("attached"), volume("spare"), volume("fail-create")
	c.share, c.unshare = share("share"), share("fail-create")
	p.Await(openstacktest.Volume, c.attached, "available")
	p.Await(openstacktest.Volume, c.spare, "available")
	p.Await(openstacktest.Volume, c.broken, "error")
	p.Await(openstacktest.Share, c.share, "available")
	p.Await(openstacktest.Share, c.unshare, "error")
	p.Attach(c.server, c.attached)
	return c
}

// The resources as the plugins are to return them.
const inZone = ` {"availability_zone":"nova"}`

func (c *realCloud) serverLine() string { return "OS::Nova::Server " + c.server + " vm" }
func (c *realCloud) imageLine() string  { return "OS::Glance::Image " + c.image + " disk" }
func (c *realCloud) networkLine() string {
	return "OS::Neutron::Network " + c.ID() + " Network Topology"
}
func (c *realCloud) projectLine() string {
	return "OS::Keystone::Project " + c.ID() + " " + c.Caller.ProjectName
}
func volumeLine(id, name string) string { return "OS::Cinder::Volume " + id + " " + name + inZone }
func shareLine(id, name string) string  { return "OS::Manila::Share " + id + " " + name }

// TestRealCloud lists, shows and links resources of every type that the real
// services have. One project serves all of it: it takes long to make.
func TestRealCloud(t *testing.T) {
	t.Parallel()
	c := newRealCloud(t)
	t.Run("list", c.testList)
	t.Run("show", c.testShow)
	t.Run("dependents", c.testDependents)
	t.Run("graph", c.testGraph)
}

func (c *realCloud) plugin(t *testing.T, kind string) protectable.Plugin {
	t.Helper()
	plugin, err := c.registry.Get(kind)
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

func (c *realCloud) testList(t *testing.T) {
	public := "OS::Glance::Image " + c.PublicImage("tiny") + " tiny"
	for kind, want := range map[string][]string{
		resource.Image:   {c.imageLine(), public},
		resource.Network: {c.networkLine()},
		resource.Project: {c.projectLine()},
		resource.Server:  {c.serverLine()},
		resource.Share:   {shareLine(c.share, "share")},
		resource.Volume:  {volumeLine(c.attached, "attached"), volumeLine(c.spare, "spare")},
	} {
		listed, err := c.plugin(t, kind).List(c.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if diff := cmp.Diff(sorted(want), sorted(render(listed))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func (c *realCloud) testShow(t *testing.T) {
	const nobody = "00000000-0000-4000-8000-000000000000"
	for _, tc := range []struct{ kind, id, want string }{
		{resource.Image, c.image, c.imageLine()},
		{resource.Network, c.ID(), c.networkLine()},
		{resource.Project, c.ID(), c.projectLine()},
		{resource.Server, c.server, c.serverLine()},
		{resource.Share, c.share, shareLine(c.share, "share")},
		{resource.Volume, c.attached, volumeLine(c.attached, "attached")},
		{resource.Share, c.unshare, "ProtectableResourceInvalidStatus"},
		{resource.Volume, c.broken, "ProtectableResourceInvalidStatus"},
		{resource.Image, nobody, "ProtectableResourceNotFound"},
		{resource.Server, nobody, "ProtectableResourceNotFound"},
		{resource.Share, nobody, "ProtectableResourceNotFound"},
		{resource.Volume, nobody, "ProtectableResourceNotFound"},
	} {
		shown, err := c.plugin(t, tc.kind).Show(c.Context(), tc.id, nil)
		got := "nil"
		switch {
		case err != nil:
			got = fault.From(err).Class()
		case shown != nil:
			got = render([]resource.Resource{*shown})[0]
		}
		if got != tc.want {
			t.Errorf("%s %s: got %s, want %s (%v)", tc.kind, tc.id, got, tc.want, err)
		}
	}
}

func (c *realCloud) testDependents(t *testing.T) {
	for name, tc := range map[string]struct {
		parent resource.Resource
		want   []string
	}{
		"server": {resource.Resource{Type: resource.Server, ID: c.server}, []string{
			c.imageLine() + ` {"server_id":"` + c.server + `"}`, volumeLine(c.attached, "attached"),
		}},
		// A checkpoint of a project must not leave a broken resource out in silence.
		"project": {resource.Resource{Type: resource.Project, ID: c.ID(), Name: c.Caller.ProjectName}, []string{
			c.imageLine(), c.networkLine(), c.serverLine(), shareLine(c.share, "share"), shareLine(c.unshare, "fail-create"),
			volumeLine(c.attached, "attached"), volumeLine(c.spare, "spare"), volumeLine(c.broken, "fail-create"),
		}},
	} {
		got, err := c.registry.Dependents(c.Context(), tc.parent)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(sorted(tc.want), sorted(render(got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The graph of the project has each resource once, also what the server has too.
func (c *realCloud) testGraph(t *testing.T) {
	graph, _, err := c.registry.Graph(c.Context(), []resource.Resource{{Type: resource.Project, ID: c.ID(), Name: c.Caller.ProjectName}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := graph.Len(); n != 9 {
		t.Errorf("%d nodes, want the project and 8 others", n)
	}
}

// A project that has nothing is an empty one, and none that fails.
func TestRealEmptyProject(t *testing.T) {
	t.Parallel()
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_CINDER", "KARBOR_TEST_MANILA", "KARBOR_TEST_NEUTRON", "KARBOR_TEST_NOVA")
	registry := protectable.NewRegistry(protectable.Options{}, Plugins(p.Factory, client.New(kubernetes.Config{}), "default")...)
	for _, kind := range []string{resource.Network, resource.Server, resource.Share, resource.Volume} {
		plugin, err := registry.Get(kind)
		if err != nil {
			t.Fatal(err)
		}
		if listed, err := plugin.List(p.Context(), nil); err != nil || len(listed) != 0 {
			t.Errorf("%s: %v, %v", kind, listed, err)
		}
	}
}

func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return lines
}
