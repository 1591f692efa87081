// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// site is a Glance, real or not, with the image of a server.
type site struct {
	*openstack.Factory
	ctx   context.Context
	image resource.Resource
}

func TestParameters(t *testing.T) {
	t.Parallel()
	g := newGlance(t)
	g.add(tiny.ID, noise(10))
	g.Answer("GET "+serverPath, http.StatusOK, `{"server": {"status": "ACTIVE"}}`)
	g.Handle("POST "+serverPath+"/action", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Action struct {
				Metadata map[string]any `json:"metadata"`
			} `json:"createImage"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		image := g.add("snap", noise(pieceSize))
		for name, value := range body.Action.Metadata {
			image[name] = value
		}
		w.Header().Set("Location", g.URL+"/glance/images/snap")
		w.WriteHeader(http.StatusAccepted)
	})
	parameters(t, &site{g.Factory, openstacktest.Context(t), ofServer(`{"server_id": "s1"}`)})
}

func TestRealParameters(t *testing.T) {
	t.Parallel()
	p := openstacktest.NewRealProject(t, "KARBOR_TEST_NOVA", "KARBOR_TEST_NEUTRON", "KARBOR_TEST_GLANCE")
	network, _ := p.CreateNetwork("private")
	image := p.UploadImage("disk", openstacktest.Noise(1000))
	server := p.CreateServer("vm", network, map[string]any{"imageRef": image})
	parameters(t, &site{p.Factory, p.Context(), resource.Resource{
		Type: resource.Image, ID: image, Name: "disk", ExtraInfo: json.RawMessage(`{"server_id": "` + server + `"}`),
	}})
}

// The name of the backup is a property of the temporary image of the server.
func parameters(t *testing.T, s *site) {
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {"backup_name": {Value: "nightly"}},
		protection.Restore: {"restore_name": {Value: "back"}},
	}, s.look)
}

func (s *site) look(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
	t.Helper()
	h, witness := plugintest.New(t), &plugintest.Witness{}
	plugin := New(Config{Config: poll.Config{PollInterval: 100 * time.Millisecond}, ObjectSize: 4 * pieceSize, ServerSnapshot: true}, s.Wrapped(witness.Transport))
	if kind != protection.Protect {
		must(t, h.Run(s.ctx, plugin, protection.Protect, h.Call(s.image)))
		h.State = &plugintest.State{}
	}
	c := h.Call(s.image)
	c.Parameters = parameters
	if err := h.Run(s.ctx, plugin, kind, c); err != nil || kind == protection.Verify {
		return nil, err
	}
	seen := witness.Seen("images")
	if kind == protection.Protect {
		return map[string]any{"backup_name": seen["backup_name"]}, nil
	}
	id, _ := h.NewResources.Get(s.image.ID)
	glance, err := plugin.glance.For(s.ctx)
	must(t, err)
	must(t, glance.Remove(s.ctx, id))
	return map[string]any{"restore_name": seen["name"]}, nil
}
