// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

const tenant = openstacktest.Project

// cloud answers the listings and look-ups of all services, and is the
// Kubernetes cluster too.
func cloud(t *testing.T) (*openstacktest.Cloud, *protectable.Registry) {
	t.Helper()
	c := openstacktest.New(t)
	registry := protectable.NewRegistry(protectable.Options{},
		Plugins(c.Factory, client.New(kubernetes.Config{Host: c.URL}), "default")...)

	c.Answer("GET "+openstacktest.Nova+"/servers/detail", 200, `{"servers": [
		{"id": "s1", "name": "vm1", "status": "ACTIVE", "image": {"id": "i1"}}, {"id": "s2", "name": "vm2", "status": "SHUTOFF", "image": ""},
		{"id": "s3", "name": "vm3", "status": "ERROR", "image": ""}]}`)
	c.Answer("GET "+openstacktest.Nova+"/servers/s1", 200, `{"server": {"id": "s1", "name": "vm1", "status": "ACTIVE", "image": {"id": "i1"}}}`)
	c.Answer("GET "+openstacktest.Nova+"/servers/s2", 200, `{"server": {"id": "s2", "name": "vm2", "status": "SHUTOFF", "image": ""}}`)
	c.Answer("GET "+openstacktest.Nova+"/servers/s3", 200, `{"server": {"id": "s3", "name": "vm3", "status": "ERROR", "image": ""}}`)

	c.Answer("GET "+openstacktest.Cinder+"/volumes/detail", 200, fmt.Sprintf(`{"volumes": [
		{"id": "v1", "name": "vol1", "status": "in-use", "availability_zone": "nova", "os-vol-tenant-attr:tenant_id": %q, "attachments": [{"server_id": "s1"}]},
		{"id": "v2", "name": "", "status": "error", "availability_zone": "nova", "os-vol-tenant-attr:tenant_id": %q, "attachments": []},
		{"id": "v3", "name": "vol3", "status": "available", "availability_zone": "az2", "os-vol-tenant-attr:tenant_id": "other", "attachments": []}]}`, tenant, tenant))
	c.Answer("GET "+openstacktest.Cinder+"/volumes/v1", 200, `{"volume": {"id": "v1", "name": "vol1", "status": "in-use", "availability_zone": "nova"}}`)
	c.Answer("GET "+openstacktest.Cinder+"/volumes/v2", 200, `{"volume": {"id": "v2", "status": "error"}}`)

	c.Answer("GET "+openstacktest.Glance+"/images", 200, fmt.Sprintf(`{"images": [
		{"id": "i1", "name": "cirros", "status": "active", "owner": "other"}, {"id": "i2", "name": "mine", "status": "active", "owner": %q},
		{"id": "i3", "name": null, "status": "deactivated", "owner": %q}]}`, tenant, tenant))
	c.Answer("GET "+openstacktest.Glance+"/images/i1", 200, `{"id": "i1", "name": "cirros", "status": "active", "owner": "other"}`)
	c.Answer("GET "+openstacktest.Glance+"/images/i3", 200, `{"id": "i3", "name": "old", "status": "deactivated"}`)

	c.Answer("GET "+openstacktest.Manila+"/shares/detail", 200, fmt.Sprintf(`{"shares": [
		{"id": "h1", "name": "share1", "status": "available", "project_id": %q}, {"id": "h2", "name": "share2", "status": "error", "project_id": %q}]}`, tenant, tenant))
	c.Answer("GET "+openstacktest.Manila+"/shares/h1", 200, `{"share": {"id": "h1", "name": "share1", "status": "available"}}`)

	c.Answer("GET "+openstacktest.Neutron+"/networks", 200, `{"networks": [{"id": "n1"}]}`)

	c.Answer("GET "+openstacktest.Trove+"/instances", 200, `{"instances": [
		{"id": "d1", "name": "db1", "status": "ACTIVE"}, {"id": "d2", "name": "db2", "status": "BUILD"}]}`)
	c.Answer("GET "+openstacktest.Trove+"/instances/d1", 200, `{"instance": {"id": "d1", "name": "db1", "status": "ACTIVE"}}`)

	c.Answer("GET /api/v1/namespaces/default/pods", 200, `{"metadata": {}, "items": [
		{"metadata": {"name": "nginx"}, "status": {"phase": "Running"}}, {"metadata": {"name": "new"}, "status": {"phase": "Pending"}}]}`)
	c.Answer("GET /api/v1/namespaces/default/pods/nginx", 200, `{"metadata": {"name": "nginx"}, "status": {"phase": "Running"},
		"spec": {"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "claim"}}, {"name": "b", "cinder": {"volumeID": "v2"}},
			{"name": "c", "emptyDir": {}}, {"name": "d", "persistentVolumeClaim": {"claimName": "unbound"}}]}}`)
	c.Answer("GET /api/v1/namespaces/default/persistentvolumeclaims/claim", 200, `{"spec": {"volumeName": "pv"}}`)
	c.Answer("GET /api/v1/namespaces/default/persistentvolumeclaims/unbound", 200, `{"spec": {}}`)
	c.Answer("GET /api/v1/persistentvolumes/pv", 200, `{"spec": {"cinder": {"volumeID": "v1"}}}`)
	return c, registry
}

func render(resources []resource.Resource) []string {
	out := []string{}
	for _, r := range resources {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s %s %s", r.Type, r.ID, r.Name, r.ExtraInfo), " "))
	}
	return out
}

const nginx = "735de13a-3904-50da-9b7f-6f7519ba882f"

func TestTypesAreListedInTheOrderOfTheOriginal(t *testing.T) {
	t.Parallel()
	_, registry := cloud(t)
	want := []string{
		"OS::Trove::Instance", "OS::Glance::Image", "OS::Neutron::Network", "OS::Kubernetes::Pod",
		"OS::Keystone::Project", "OS::Nova::Server", "OS::Manila::Share", "OS::Cinder::Volume",
	}
	if diff := cmp.Diff(want, registry.Types()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	_, registry := cloud(t)
	for kind, want := range map[string][]string{
		resource.Project:  {"OS::Keystone::Project " + tenant + " demo"},
		resource.Server:   {"OS::Nova::Server s1 vm1", "OS::Nova::Server s2 vm2"},
		resource.Volume:   {`OS::Cinder::Volume v1 vol1 {"availability_zone":"nova"}`, `OS::Cinder::Volume v3 vol3 {"availability_zone":"az2"}`},
		resource.Image:    {"OS::Glance::Image i1 cirros", "OS::Glance::Image i2 mine"},
		resource.Share:    {"OS::Manila::Share h1 share1"},
		resource.Network:  {"OS::Neutron::Network " + tenant + " Network Topology"},
		resource.Database: {"OS::Trove::Instance d1 db1"},
		resource.Pod:      {"OS::Kubernetes::Pod " + nginx + ` default:nginx {"namespace":"default"}`},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			plugin, err := registry.Get(kind)
			if err != nil {
				t.Fatal(err)
			}
			got, err := plugin.List(openstacktest.Context(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, render(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDependents(t *testing.T) {
	t.Parallel()
	_, registry := cloud(t)
	for name, tc := range map[string]struct {
		parent resource.Resource
		want   []string
	}{
		"server with an image": {
			resource.Resource{Type: resource.Server, ID: "s1"},
			[]string{`OS::Glance::Image i1 cirros {"server_id":"s1"}`, `OS::Cinder::Volume v1 vol1 {"availability_zone":"nova"}`},
		},
		"server booted from a volume": {resource.Resource{Type: resource.Server, ID: "s2"}, []string{}},
		"pod": {
			resource.Resource{Type: resource.Pod, ID: nginx, Name: "default:nginx"},
			[]string{`OS::Cinder::Volume v1 vol1 {"availability_zone":"nova"}`, `OS::Cinder::Volume v2  {"availability_zone":"nova"}`},
		},
		"project": {
			resource.Resource{Type: resource.Project, ID: tenant, Name: "demo"},
			[]string{
				"OS::Trove::Instance d1 db1", "OS::Glance::Image i2 mine", "OS::Neutron::Network " + tenant + " Network Topology",
				"OS::Kubernetes::Pod " + nginx + ` default:nginx {"namespace":"default"}`,
				"OS::Nova::Server s1 vm1", "OS::Nova::Server s2 vm2",
				"OS::Manila::Share h1 share1", "OS::Manila::Share h2 share2",
				`OS::Cinder::Volume v1 vol1 {"availability_zone":"nova"}`, `OS::Cinder::Volume v2  {"availability_zone":"nova"}`,
			},
		},
		"volume": {resource.Resource{Type: resource.Volume, ID: "v1"}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := registry.Dependents(openstacktest.Context(t), tc.parent)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, render(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGraphListsVolumesOnce(t *testing.T) {
	t.Parallel()
	c, registry := cloud(t)
	graph, _, err := registry.Graph(openstacktest.Context(t), []resource.Resource{{Type: resource.Project, ID: tenant, Name: "demo"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if graph.Len() != 12 { // the 10 of the project, i1 and the project
		t.Errorf("%d nodes", graph.Len())
	}
	if n := len(c.Calls("GET " + openstacktest.Cinder + "/volumes/detail")); n != 1 {
		t.Errorf("volumes were listed %d times", n)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	_, registry := cloud(t)
	for name, tc := range map[string]struct {
		kind, id, parameters string
		want                 string // rendered, "nil", or "class: message"
	}{
		"project":              {resource.Project, "any", "", "OS::Keystone::Project any demo"},
		"server":               {resource.Server, "s1", "", "OS::Nova::Server s1 vm1"},
		"bad server":           {resource.Server, "s3", "", "ProtectableResourceInvalidStatus: The resource s3 of type OS::Nova::Server has a invalid status: ERROR"},
		"no server":            {resource.Server, "x", "", "ProtectableResourceNotFound: The resource x of type OS::Nova::Server could not be found: 404 page not found (HTTP 404)"},
		"volume":               {resource.Volume, "v1", "", `OS::Cinder::Volume v1 vol1 {"availability_zone":"nova"}`},
		"bad volume":           {resource.Volume, "v2", "", "ProtectableResourceInvalidStatus: The resource v2 of type OS::Cinder::Volume has a invalid status: error"},
		"image":                {resource.Image, "i1", "", "OS::Glance::Image i1 cirros"},
		"bad image":            {resource.Image, "i3", "", "ProtectableResourceInvalidStatus: The resource i3 of type OS::Glance::Image has a invalid status: deactivated"},
		"share":                {resource.Share, "h1", "", "OS::Manila::Share h1 share1"},
		"database":             {resource.Database, "d1", "", "OS::Trove::Instance d1 db1"},
		"network":              {resource.Network, tenant, "", "OS::Neutron::Network " + tenant + " Network Topology"},
		"other network":        {resource.Network, "other", "", "nil"},
		"pod":                  {resource.Pod, nginx, `{"name": "nginx"}`, "OS::Kubernetes::Pod " + nginx + ` default:nginx {"namespace":"default"}`},
		"pod, namespace":       {resource.Pod, nginx, `{"name": "default:nginx"}`, "OS::Kubernetes::Pod " + nginx + ` default:nginx {"namespace":"default"}`},
		"pod, no name":         {resource.Pod, nginx, `{}`, "ProtectableResourceNotFound: The resource " + nginx + ` of type OS::Kubernetes::Pod could not be found: the parameter "name" is required`},
		"path in the id":       {resource.Image, "../images", "", "ProtectableResourceNotFound: The resource ../images of type OS::Glance::Image could not be found: \"../images\" is not an id that can stand in a URL"},
		"pod, other namespace": {resource.Pod, "f68752d1-ccad-5557-a634-4a2c8e9cf9ca", `{"name": "kube-system:etcd"}`, "ProtectableResourceNotFound: The resource f68752d1-ccad-5557-a634-4a2c8e9cf9ca of type OS::Kubernetes::Pod could not be found: it is not the id of a pod \"etcd\" of namespace default"},
		"pod, another's id":    {resource.Pod, nginx, `{"name": "web"}`, "ProtectableResourceNotFound: The resource " + nginx + ` of type OS::Kubernetes::Pod could not be found: it is not the id of a pod "web" of namespace default`},
		"pod, other name":      {resource.Pod, "e7e44c81-e3a7-5d84-ad14-19b982ed75d0", `{"name": "gone"}`, "ProtectableResourceNotFound: The resource e7e44c81-e3a7-5d84-ad14-19b982ed75d0 of type OS::Kubernetes::Pod could not be found: get /api/v1/namespaces/default/pods/gone: the server could not find the requested resource (get pods gone) (HTTP 404)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugin, err := registry.Get(tc.kind)
			if err != nil {
				t.Fatal(err)
			}
			var parameters protectable.Parameters
			if tc.parameters != "" {
				if err := json.Unmarshal([]byte(tc.parameters), &parameters); err != nil {
					t.Fatal(err)
				}
			}
			shown, err := plugin.Show(openstacktest.Context(t), tc.id, parameters)
			got := "nil"
			switch {
			case err != nil:
				got = fault.From(err).Class() + ": " + err.Error()
			case shown != nil:
				got = render([]resource.Resource{*shown})[0]
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// One registry serves all projects: none sees what another one asked for.
func TestTwoProjects(t *testing.T) {
	t.Parallel()
	c, registry := cloud(t)
	plugin, err := registry.Get(resource.Network)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{tenant, "22222222222222222222222222222222", tenant} {
		caller := *requestcontext.From(openstacktest.Context(t))
		caller.ProjectID = id
		got, err := plugin.List(requestcontext.New(t.Context(), &caller), nil)
		if err != nil || len(got) != 1 || got[0].ID != id {
			t.Errorf("project %s: got %v, %v", id, got, err)
		}
		calls := c.Calls("GET " + openstacktest.Neutron + "/networks")
		if last := calls[len(calls)-1].Query; !strings.Contains(last, "project_id="+id) {
			t.Errorf("project %s: asked for %s", id, last)
		}
	}
}

func TestNoCloud(t *testing.T) {
	t.Parallel()
	f := openstack.New(openstack.Config{}, nil)
	registry := protectable.NewRegistry(protectable.Options{}, Plugins(f, client.New(kubernetes.Config{}), "default")...)
	ctx := requestcontext.New(t.Context(), &requestcontext.RequestContext{ProjectID: "p"})
	for kind, reason := range map[string]string{
		resource.Database: "Couldn't find the endpoint of service(trove)",
		resource.Image:    "Couldn't find the endpoint of service(glance)",
		resource.Network:  "Couldn't find the endpoint of service(neutron)",
		resource.Pod:      "k8s_host is not configured",
		resource.Server:   "Couldn't find the endpoint of service(nova)",
		resource.Share:    "Couldn't find the endpoint of service(manila)",
		resource.Volume:   "Couldn't find the endpoint of service(cinder)",
	} {
		plugin, err := registry.Get(kind)
		if err != nil {
			t.Fatal(err)
		}
		_, err = plugin.List(ctx, nil)
		want := "List protectable resources of type " + kind + " failed: " + reason
		if !fault.Is(err, "ListProtectableResourceFailed") || err.Error() != want {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	// As the original, a project without a cloud has no dependents.
	got, err := registry.Dependents(ctx, resource.Resource{Type: resource.Project, ID: "p"})
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

// A cloud that has Glance only shows its images and nothing else.
func TestRealGlance(t *testing.T) {
	f, ctx := openstacktest.Real(t, "KARBOR_TEST_GLANCE")
	registry := protectable.NewRegistry(protectable.Options{}, Plugins(f, client.New(kubernetes.Config{}), "default")...)
	plugin, err := registry.Get(resource.Image)
	if err != nil {
		t.Fatal(err)
	}
	images, err := plugin.List(ctx, nil)
	if err != nil || len(images) == 0 {
		t.Fatalf("got %v, %v", images, err)
	}
	shown, err := plugin.Show(ctx, images[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(images[0], *shown); diff != "" {
		t.Errorf("(-listed +shown):\n%s", diff)
	}
	caller := requestcontext.From(ctx)
	graph, _, err := registry.Graph(ctx, []resource.Resource{{Type: resource.Project, ID: caller.ProjectID, Name: caller.ProjectName}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range graph.Nodes() {
		if n.Type != resource.Image && n.Type != resource.Project {
			t.Logf("found %s", n.Key())
		}
	}
	_, err = plugin.Show(ctx, "00000000-0000-4000-8000-000000000000", nil)
	if !fault.Is(err, "ProtectableResourceNotFound") {
		t.Errorf("got %v", err)
	}
}

func TestFromConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "karbor.conf")
	c := openstacktest.New(t)
	c.Answer("GET /api/v1/namespaces/prod/pods", 200, `{"items": [{"metadata": {"name": "nginx"}, "status": {"phase": "Running"}}]}`)
	text := "[k8s_client]\nk8s_host = " + c.URL + "\n[pod_protectable]\nnamespace = prod\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{Files: []string{file}}, Options())
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := protectable.NewRegistry(protectable.Options{}, FromConfig(cfg, c.Factory, client.New(kubernetes.FromConfig(cfg)))...).Get(resource.Pod)
	if err != nil {
		t.Fatal(err)
	}
	got, err := plugin.List(openstacktest.Context(t), nil)
	if err != nil || len(got) != 1 || got[0].Name != "prod:nginx" {
		t.Errorf("got %v, %v", got, err)
	}
}

// A program that is built without Kubernetes has no pods, and all else.
func TestWithoutKubernetes(t *testing.T) {
	t.Parallel()
	registry := protectable.NewRegistry(protectable.Options{}, Plugins(openstacktest.New(t).Factory, nil, "default")...)
	want := []string{
		"OS::Trove::Instance", "OS::Glance::Image", "OS::Neutron::Network",
		"OS::Keystone::Project", "OS::Nova::Server", "OS::Manila::Share", "OS::Cinder::Volume",
	}
	if diff := cmp.Diff(want, registry.Types()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"OS::Cinder::Volume"}, registry.DependentTypes(resource.Server)[1:]); diff != "" {
		t.Errorf("of a server (-want +got):\n%s", diff)
	}
	if types := registry.DependentTypes(resource.Pod); len(types) != 0 {
		t.Errorf("of a pod: %v", types)
	}
}

// A project with something unfit of each type: what no listing has is told of, and with
// leave the volume and the share in error are left out too, from the listings that there are.
func TestUnfitOfAProject(t *testing.T) {
	t.Parallel()
	project := []resource.Resource{{Type: resource.Project, ID: tenant, Name: "demo"}}
	omitted := map[string]string{
		"OS::Nova::Server vm3": "its status is ERROR", "OS::Glance::Image ": "its status is deactivated",
		"OS::Trove::Instance db2": "its status is BUILD", "OS::Kubernetes::Pod default:new": "its status is Pending",
	}
	left := maps.Clone(omitted)
	left["OS::Manila::Share share2"], left["OS::Cinder::Volume "] = "its status is error", "its status is error"
	left["OS::Kubernetes::Pod default:nginx"] = "it needs OS::Cinder::Volume#v2: its status is error"
	for optional, want := range map[bool]map[string]string{false: omitted, true: left} {
		c, registry := cloud(t)
		_, remarks, err := registry.Graph(openstacktest.Context(t), project, func(resource.Resource) bool { return optional })
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, one := range remarks {
			got[one.Resource.Type+" "+one.Was] = one.Why
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("optional %v (-want +got):\n%s", optional, diff)
		}
		calls := asked(c)
		for path, n := range calls {
			if n > 1 {
				t.Errorf("optional %v: %s was asked for %d times", optional, path, n)
			}
		}
	}
}

// Resources of a plan are asked for, what is gone too.
func TestUnfitOfAPlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		starts []resource.Resource
		want   map[string]string
	}{
		"server":          {[]resource.Resource{{Type: resource.Server, ID: "s3"}, {Type: resource.Server, ID: "s2"}}, map[string]string{"s3": "its status is ERROR"}},
		"server is gone":  {[]resource.Resource{{Type: resource.Server, ID: "s9"}, {Type: resource.Server, ID: "s2"}}, map[string]string{"s9": "it is not there"}},
		"volume":          {[]resource.Resource{{Type: resource.Volume, ID: "v2"}, {Type: resource.Volume, ID: "v1"}}, map[string]string{"v2": "its status is error"}},
		"image":           {[]resource.Resource{{Type: resource.Image, ID: "i3"}, {Type: resource.Image, ID: "i1"}}, map[string]string{"i3": "its status is deactivated"}},
		"share is gone":   {[]resource.Resource{{Type: resource.Share, ID: "h9"}, {Type: resource.Share, ID: "h1"}}, map[string]string{"h9": "it is not there"}},
		"instance":        {[]resource.Resource{{Type: resource.Database, ID: "d9"}, {Type: resource.Database, ID: "d1"}}, map[string]string{"d9": "it is not there"}},
		"pod is no more":  {[]resource.Resource{{Type: resource.Pod, ID: "p9", Name: "default:x"}, {Type: resource.Server, ID: "s2"}}, map[string]string{"p9": "it is not there"}},
		"image of server": {[]resource.Resource{{Type: resource.Server, ID: "s1"}}, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, registry := cloud(t)
			graph, remarks, err := registry.Graph(openstacktest.Context(t), c.starts, func(resource.Resource) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, one := range remarks {
				got[one.Resource.ID] = one.Why
				if graph.Find(resource.Key(one.Resource)) != nil {
					t.Errorf("%s is in the graph", one.Resource.ID)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
