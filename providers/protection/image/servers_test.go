// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// twins are servers s1 and s2, booted from tiny.
func twins() *resource.Graph {
	image := &resource.Node{Resource: ofServer(`{"server_id": "s1"}`)}
	graph := &resource.Graph{}
	for _, id := range []string{"s1", "s2"} {
		graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: id}, Children: []*resource.Node{image}})
	}
	return graph
}

// snapshots lets Nova make images of both servers, each with what its disk has.
func snapshots(g *fakeGlance) {
	for _, id := range []string{"s1", "s2"} {
		snapshot(g, id, bytes.Repeat([]byte(id), pieceSize/2+1))
	}
}

// snapshot lets Nova make images of a server with these data.
func snapshot(g *fakeGlance, server string, data []byte) {
	path := openstacktest.Nova + "/servers/" + server
	g.Answer("GET "+path, http.StatusOK, fmt.Sprintf(`{"server": {"id": %q, "status": "ACTIVE"}}`, server))
	g.Handle("POST "+path+"/action", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			CreateImage struct {
				Name     string            `json:"name"`
				Metadata map[string]string `json:"metadata"`
			} `json:"createImage"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		id := uuid.NewString()
		image := g.add(id, data)
		g.mu.Lock()
		defer g.mu.Unlock()
		image["name"] = body.CreateImage.Name
		for name, value := range body.CreateImage.Metadata {
			image[name] = value
		}
		w.Header().Set("Location", g.URL+"/glance/images/"+id)
		w.WriteHeader(http.StatusAccepted)
	})
}

// Servers booted from one image have disks of their own, and get them back.
func TestServersOfOneImage(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	g.add(tiny.ID, noise(10))
	snapshots(g)
	graph := twins()
	call := func() *protection.Call {
		c := h.Call(ofServer(`{"server_id": "s1"}`))
		c.Graph = graph
		return c
	}
	p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
	p.newID = uuid.NewString
	second := resource.Resource{Type: resource.Image, ID: imagedata.OfServer(tiny.ID, "s2")}
	must(t, h.Run(ctx, p, protection.Protect, call()))
	for id, r := range map[string]resource.Resource{"s1": tiny, "s2": second} {
		if text := h.Text(r, "metadata"); !strings.Contains(text, fmt.Sprintf(`"server_id": %q`, id)) {
			t.Errorf("metadata of %s is %s", id, text)
		}
	}
	if diff := cmp.Diff([]string{tiny.ID}, g.ids()); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	must(t, h.Run(ctx, p, protection.Verify, call()))
	h.State = &plugintest.State{}
	must(t, h.Run(ctx, p, protection.Restore, call()))
	for id, r := range map[string]resource.Resource{"s1": tiny, "s2": second} {
		restored, _ := h.NewResources.Get(r.ID)
		if !bytes.HasPrefix(g.data[restored], []byte(id)) {
			t.Errorf("%s was restored as %q", id, restored)
		}
	}
	must(t, h.Run(ctx, p, protection.Delete, call()))
	for _, r := range []resource.Resource{tiny, second} {
		if diff := cmp.Diff([]string{"status"}, h.Keys(r)); diff != "" {
			t.Errorf("left of %s (-want +got):\n%s", r.ID, diff)
		}
	}
}

// What was protected without snapshots, or by the original, has one backup.
func TestServersOfOneBackup(t *testing.T) {
	t.Parallel()
	g, h := newGlance(t), plugintest.New(t)
	g.add(tiny.ID, noise(10))
	p, ctx := plugin(g, pieceSize), openstacktest.Context(t)
	c := h.Call(tiny)
	must(t, h.Run(ctx, p, protection.Protect, c))
	for _, kind := range []protection.Kind{protection.Verify, protection.Restore, protection.Delete} {
		c := h.Call(ofServer(`{"server_id": "s1"}`))
		c.Graph = twins()
		must(t, h.Run(ctx, p, kind, c))
	}
	if keys := h.Keys(resource.Resource{Type: resource.Image, ID: imagedata.OfServer(tiny.ID, "s2")}); len(keys) != 0 {
		t.Errorf("there is %v", keys)
	}
}

func TestSurvivesWithServersOfOneImage(t *testing.T) {
	t.Parallel()
	options := plugintest.Options{Kinds: []protection.Kind{protection.Protect, protection.Restore, protection.Delete, protection.Copy}}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		g := newGlance(t)
		g.add(tiny.ID, noise(10))
		snapshots(g)
		w := worldOf(t, g)
		w.Resource, w.Graph = ofServer(`{"server_id": "s1"}`), twins()
		return w
	})
}
