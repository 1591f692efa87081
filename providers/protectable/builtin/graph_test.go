// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// big is a project with many servers, each of which has volumes and was booted
// from an image.
type big struct {
	servers, volumesEach, images int
	latency                      time.Duration // of each answer
	imagesGone                   bool
}

// pageSize is that of Nova, Cinder and Glance by default.
const pageSize = 1000

// cloud answers the listings page by page, and the single look-ups as well.
func (b big) cloud(t testing.TB) (*openstacktest.Cloud, *protectable.Registry) {
	t.Helper()
	c := openstacktest.New(t)
	registry := protectable.NewRegistry(protectable.Options{},
		Plugins(c.Factory, client.New(kubernetes.Config{Host: c.URL}), "default")...)
	var servers, volumes, images []map[string]any
	for i := range b.servers {
		id := fmt.Sprint("s", i)
		servers = append(servers, map[string]any{"id": id, "name": "vm", "status": "ACTIVE", "image": map[string]any{"id": fmt.Sprint("i", i%b.images)}})
		for j := range b.volumesEach {
			volumes = append(volumes, map[string]any{"id": fmt.Sprint("v", i, "-", j), "name": "disk", "status": "in-use", "availability_zone": "nova",
				"os-vol-tenant-attr:tenant_id": tenant, "attachments": []any{map[string]any{"server_id": id}}})
		}
	}
	for i := range b.images {
		images = append(images, map[string]any{"id": fmt.Sprint("i", i), "name": "system", "status": "active", "owner": tenant})
	}
	if b.imagesGone {
		images = nil
	}
	b.collection(c, openstacktest.Nova+"/servers", "/detail", "servers", "server", servers)
	b.collection(c, openstacktest.Cinder+"/volumes", "/detail", "volumes", "volume", volumes)
	b.collection(c, openstacktest.Glance+"/images", "", "images", "", images)
	for pattern, body := range map[string]string{
		openstacktest.Manila + "/shares/detail": `{"shares": []}`, openstacktest.Trove + "/instances": `{"instances": []}`,
		openstacktest.Neutron + "/networks": `{"networks": [{"id": "n1"}]}`, "/api/v1/namespaces/default/pods": `{"metadata": {}, "items": []}`,
	} {
		c.Handle("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) { b.answer(w, json.RawMessage(body)) })
	}
	return c, registry
}

func (b big) answer(w http.ResponseWriter, body any) {
	time.Sleep(b.latency) // what a real service takes, not a wait for anything
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// collection answers GET of a path's items, and of a listing below it.
func (b big) collection(c *openstacktest.Cloud, path, listing, list, member string, items []map[string]any) {
	at := map[any]int{}
	for i, item := range items {
		at[item["id"]] = i
	}
	c.Handle("GET "+path+listing, func(w http.ResponseWriter, r *http.Request) {
		begin := 0
		if marker := r.URL.Query().Get("marker"); marker != "" {
			begin = at[marker] + 1
		}
		size := pageSize
		if member == "" {
			size = 25 // Glance's, unless it is asked for more
		}
		if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
			size = min(limit, pageSize)
		}
		end := min(begin+size, len(items))
		page := map[string]any{list: items[begin:end]}
		if end < len(items) {
			query := r.URL.Query()
			query.Set("marker", items[end-1]["id"].(string))
			page[list+"_links"], page["next"] = []any{map[string]any{"rel": "next", "href": "http://x/?" + query.Encode()}}, "/?"+query.Encode()
		}
		b.answer(w, page)
	})
	c.Handle("GET "+path+"/{id}", func(w http.ResponseWriter, r *http.Request) {
		i, ok := at[r.PathValue("id")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if member == "" {
			b.answer(w, items[i])
			return
		}
		b.answer(w, map[string]any{member: items[i]})
	})
}

// asked counts the calls of a cloud by what they were for.
func asked(c *openstacktest.Cloud) map[string]int {
	calls := map[string]int{}
	for _, call := range c.Calls("") {
		calls[call.Path]++
	}
	return calls
}

// A project is asked for with one listing of each type, however many servers it has.
func TestGraphOfAProjectHasOneListingOfEachType(t *testing.T) {
	t.Parallel()
	c, registry := big{servers: 1200, volumesEach: 1, images: 60}.cloud(t)
	graph, _, err := registry.Graph(openstacktest.Context(t), []resource.Resource{{Type: resource.Project, ID: tenant}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1200 + 1200 + 60 + 2; graph.Len() != want { // and the project and its network
		t.Errorf("%d nodes, want %d", graph.Len(), want)
	}
	want := map[string]int{
		openstacktest.Nova + "/servers/detail": 2, openstacktest.Cinder + "/volumes/detail": 2, openstacktest.Glance + "/images": 1,
		openstacktest.Manila + "/shares/detail": 1, openstacktest.Trove + "/instances": 1, openstacktest.Neutron + "/networks": 1,
		"/api/v1/namespaces/default/pods": 1,
	}
	if diff := cmp.Diff(want, asked(c)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// Servers of a plan are looked up one by one as long as they are few.
func TestGraphOfServers(t *testing.T) {
	t.Parallel()
	for servers, want := range map[int]map[string]int{
		1:  {openstacktest.Nova + "/servers/s0": 1, openstacktest.Glance + "/images/i0": 1, openstacktest.Cinder + "/volumes/detail": 1},
		40: {openstacktest.Nova + "/servers/detail": 1, openstacktest.Glance + "/images/i0": 1, openstacktest.Cinder + "/volumes/detail": 1},
	} {
		c, registry := big{servers: servers, volumesEach: 200 / servers, images: 1}.cloud(t)
		var starts []resource.Resource
		for i := range servers {
			starts = append(starts, resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)})
		}
		graph, _, err := registry.Graph(openstacktest.Context(t), starts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if graph.Len() != servers+200+1 {
			t.Errorf("%d servers: %d nodes", servers, graph.Len())
		}
		if diff := cmp.Diff(want, asked(c)); diff != "" {
			t.Errorf("%d servers: calls (-want +got):\n%s", servers, diff)
		}
	}
}

// BenchmarkGraph finds what a plan covers in a cloud whose every answer takes
// 5 ms. The metric original is the arithmetic of the original, which asks for
// each server, its image and all volumes again, one call after the other; its
// client of Glance asks for pages of 20.
func BenchmarkGraph(b *testing.B) {
	pages := func(items, size int) int { return max(1, (items+size-1)/size) }
	for name, bm := range map[string]struct {
		big   big
		start resource.Resource
	}{
		"server of 200 volumes":   {big{servers: 1, volumesEach: 200, images: 1}, resource.Resource{Type: resource.Server, ID: "s0"}},
		"project of 1000 servers": {big{servers: 1000, volumesEach: 2, images: 50}, resource.Resource{Type: resource.Project, ID: tenant}},
	} {
		b.Run(name, func(b *testing.B) {
			bm.big.latency = 5 * time.Millisecond
			volumes := pages(bm.big.servers*bm.big.volumesEach, pageSize)
			original := bm.big.servers * (2 + volumes)
			if bm.start.Type == resource.Project {
				original += 4 + pages(bm.big.images, 20) + 1 + volumes // databases, network, pods, shares; images; servers; volumes
			}
			c, registry := bm.big.cloud(b)
			for b.Loop() {
				if _, _, err := registry.Graph(openstacktest.Context(b), []resource.Resource{bm.start}, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.Calls("")))/float64(b.N), "calls/op")
			b.ReportMetric(float64(original), "original-calls")
			b.ReportMetric(float64(original)*bm.big.latency.Seconds(), "original-s")
		})
	}
}

// A plan that names thousands of resources that there are not costs a listing of each
// type and a bounded number of calls for single resources: more than that are taken as
// not there.
func TestUnknownResourcesAreAskedForABoundedNumberOfTimes(t *testing.T) {
	t.Parallel()
	for _, resourceType := range []string{resource.Server, resource.Project, resource.Image, resource.Volume} {
		t.Run(resourceType, func(t *testing.T) {
			t.Parallel()
			c, registry := big{servers: 20, volumesEach: 1, images: 20}.cloud(t)
			var plan []resource.Resource
			for i := range 2000 {
				plan = append(plan, resource.Resource{Type: resourceType, ID: fmt.Sprint("made-up-", i)})
			}
			graph, _, err := registry.Graph(openstacktest.Context(t), plan, nil)
			if err != nil || graph.Len() < len(plan) {
				t.Fatalf("%v", err)
			}
			total := 0
			for _, n := range asked(c) {
				total += n
			}
			if total > 60 {
				t.Errorf("%d calls: %v", total, asked(c))
			}
		})
	}
}

// Servers that were booted from images that no listing has, such as those of a
// community, are few enough to be asked for; the images of a listing always count.
func TestImagesOfManyServers(t *testing.T) {
	t.Parallel()
	c, registry := big{servers: 200, images: 200}.cloud(t)
	var plan []resource.Resource
	for i := range 200 {
		plan = append(plan, resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)})
	}
	graph, _, err := registry.Graph(openstacktest.Context(t), plan, nil)
	if err != nil || graph.Len() != 400 {
		t.Fatalf("%d resources, %v", graph.Len(), err)
	}
	if calls := asked(c); len(calls) > 20 {
		t.Errorf("calls: %v", calls)
	}
}

// The image of a server belongs to it though it was deleted after the server had been
// booted, and however many such images there are.
func TestDeletedImagesOfServers(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 200} {
		_, registry := big{servers: servers, images: servers, imagesGone: true}.cloud(t)
		var plan []resource.Resource
		for i := range servers {
			plan = append(plan, resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)})
		}
		graph, _, err := registry.Graph(openstacktest.Context(t), plan, nil)
		if err != nil || graph.Len() != 2*servers {
			t.Fatalf("%d resources, %v", graph.Len(), err)
		}
		image := graph.Find(resource.Key{Type: resource.Image, ID: "i0"})
		if image == nil || string(image.ExtraInfo) != `{"server_id":"s0"}` {
			t.Errorf("the image is %+v", image)
		}
	}
}

// Links end the making of a graph when there are too many: twenty servers belong to
// every project that is named.
func TestLinksOfAGraphAreBounded(t *testing.T) {
	t.Parallel()
	c, _ := big{servers: 20, images: 1}.cloud(t)
	registry := protectable.NewRegistry(protectable.Options{MaxLinks: 100}, Plugins(c.Factory, nil)...)
	var plan []resource.Resource
	for i := range 50 {
		plan = append(plan, resource.Resource{Type: resource.Project, ID: fmt.Sprint("p", i)})
	}
	if _, _, err := registry.Graph(openstacktest.Context(t), plan, nil); !errors.Is(err, resource.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
