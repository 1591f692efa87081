// SPDX-License-Identifier: Apache-2.0

package volumetest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// World is a Cinder, real or not, with two volumes.
type World struct {
	*openstack.Factory
	Context  context.Context
	Interval time.Duration     // between two looks that are worth it
	Volume   resource.Resource // the one to protect
	Target   string            // one to restore into
	// Attach has the volume in use, or not any more.
	Attach func(inUse bool)
	// Discard removes another volume.
	Discard func(id string)
}

// NewWorld makes one that is not real.
func NewWorld(t testing.TB) *World {
	t.Helper()
	c := storage.New(t)
	source := c.AddVolume(uuid.NewString(), "source", []byte("data"))
	return &World{
		Factory: c.Factory, Context: openstacktest.Context(t), Interval: time.Millisecond,
		Volume: resource.Resource{Type: resource.Volume, ID: source.ID, Name: "source"},
		Target: c.AddVolume(uuid.NewString(), "target", nil).ID,
		Attach: func(inUse bool) {
			source.Status = map[bool]string{true: "in-use", false: "available"}[inUse]
		},
		Discard: func(string) {},
	}
}

// NewRealWorld makes one in a project of the real cloud, or skips the test. Cinder
// alone has the volume in use: what it is attached to does not matter to it.
func NewRealWorld(t testing.TB) *World {
	t.Helper()
	p := NewProject(t)
	volume := func(name string) string {
		return p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": name})
	}
	id := volume("source")
	attach := func(inUse bool) {
		if inUse {
			p.Act(openstacktest.Volume, id, "os-attach", map[string]any{"instance_uuid": uuid.NewString(), "mountpoint": "/dev/vdb"}, nil)
			p.Await(openstacktest.Volume, id, "in-use")
			return
		}
		p.Act(openstacktest.Volume, id, "os-detach", map[string]any{}, nil)
		p.Await(openstacktest.Volume, id, "available")
	}
	return &World{
		Factory: p.Factory, Context: p.Context(), Interval: 300 * time.Millisecond,
		Volume: resource.Resource{Type: resource.Volume, ID: id, Name: "source"},
		Target: volume("target"),
		Attach: attach, Discard: func(id string) { p.Delete(openstacktest.Volume, id) },
	}
}

// Newest returns what Cinder shows of the volume's newest backup or snapshot, nil
// if there is none.
func (w *World) Newest(t testing.TB, collection string) map[string]any {
	t.Helper()
	client, err := w.BlockStorage(w.Context)
	must(t, err)
	all, err := openstack.List[map[string]any](w.Context, client, collection+"/detail", collection, nil)
	must(t, err)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// Look returns what runs operations of a plugin on the volume, which is in use
// while it is protected. protected tells what is seen of a protect: of a restore,
// it is the name and the description of the volume, and which it is.
func (w *World) Look(plugin protection.Plugin, protected func(t testing.TB, h *plugintest.Harness) map[string]any) plugintest.Look {
	return func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		t.Helper()
		h := plugintest.New(t)
		run := func(kind protection.Kind, parameters protection.Parameters) error {
			c := h.Call(w.Volume)
			c.Parameters = parameters
			h.State = &plugintest.State{}
			return h.Run(w.Context, plugin, kind, c)
		}
		if kind == protection.Protect {
			w.Attach(true)
			err := run(kind, parameters)
			w.Attach(false)
			if err != nil {
				return nil, err
			}
			shown := protected(t, h)
			return shown, run(protection.Delete, nil)
		}
		must(t, run(protection.Protect, nil))
		defer func() { must(t, run(protection.Delete, nil)) }()
		if err := run(kind, parameters); err != nil || kind != protection.Restore {
			return nil, err
		}
		id, _ := h.NewResources.Get(w.Volume.ID)
		client, err := w.BlockStorage(w.Context)
		must(t, err)
		restored, err := openstack.Show[map[string]any](w.Context, client, "volumes", id, "volume")
		must(t, err)
		if id != w.Target {
			w.Discard(id)
		} else {
			before := map[string]any{"volume": map[string]any{"name": "target", "description": ""}}
			_, err := client.Put(w.Context, client.ServiceURL("volumes", id), before, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
			must(t, err)
		}
		return map[string]any{"volume_id": id, "restore_name": (*restored)["name"], "restore_description": (*restored)["description"]}, nil
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
