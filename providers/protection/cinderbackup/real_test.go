// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/volume/volumetest"
)

func realPlugin(snapshot bool) func(p *openstacktest.RealProject) protection.Plugin {
	return func(p *openstacktest.RealProject) protection.Plugin {
		return New(Config{Config: poll.Config{PollInterval: 500 * time.Millisecond}, FromSnapshot: snapshot}, p.Factory)
	}
}

func TestReal(t *testing.T) {
	t.Parallel()
	protect := []string{"backup_name", "b", "description", "d", "container", "box", "backup_mode", "full", "force", "True"}
	for name, snapshot := range map[string]bool{"from a snapshot": true, "of the volume": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			volumetest.RoundTrip(t, volumetest.Trip{Plugin: realPlugin(snapshot), Protect: protect, Restore: []string{"restore_name", "back", "restore_description", "rd"}})
		})
	}
}

// A full backup, one of what has changed since, and both restored: the second
// into a volume that is there.
func TestRealIncremental(t *testing.T) {
	t.Parallel()
	p := volumetest.NewProject(t)
	ctx, plugin := p.Context(), realPlugin(true)(p)
	id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "source"})
	r := resource.Resource{Type: resource.Volume, ID: id, Name: "source"}
	var states [][]byte
	var checkpoints []*plugintest.Harness
	for _, mode := range []string{"full", "incremental"} {
		p.WriteVolume(id, int64(len(states))<<20, openstacktest.Noise(1<<20))
		states = append(states, p.ReadVolume(id))
		h := plugintest.New(t)
		checkpoints = append(checkpoints, h)
		must(t, h.Run(ctx, plugin, protection.Protect, h.Call(r, "backup_mode", mode)))
	}
	target := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "target"})
	for i, parameters := range [][]string{{}, {"volume_id", target, "restore_name", "renamed"}} {
		h := checkpoints[i]
		h.State = &plugintest.State{}
		must(t, h.Run(ctx, plugin, protection.Restore, h.Call(r, parameters...)))
		restored, _ := h.NewResources.Get(id)
		if !bytes.Equal(p.ReadVolume(restored), states[i]) {
			t.Errorf("checkpoint %d: other bytes came back", i)
		}
	}
	if got := p.Show(openstacktest.Volume, target)["name"]; got != "renamed" {
		t.Errorf("the target is named %v", got)
	}
	for _, i := range []int{1, 0} {
		h := checkpoints[i]
		must(t, h.Run(ctx, plugin, protection.Delete, h.Call(r)))
	}
}

// TestRealSurvives kills the plugin before a real Cinder: at one call of a protect,
// or with KARBOR_TEST_FAILPOINTS=all at a few of every operation.
func TestRealSurvives(t *testing.T) {
	t.Parallel()
	volumetest.NewProject(t) // or skip
	options := plugintest.Options{Cuts: 1, Twice: 1, Kinds: []protection.Kind{protection.Protect}}
	if os.Getenv("KARBOR_TEST_FAILPOINTS") == "all" {
		options = plugintest.Options{Cuts: 4, Twice: 1}
	}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		p := volumetest.NewProject(t)
		id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "source"})
		return &plugintest.World{
			Service:    volumetest.Service{RealProject: p},
			Resource:   resource.Resource{Type: resource.Volume, ID: id, Name: "source"},
			Caller:     p.Caller,
			Lags:       true,
			Parameters: map[protection.Kind]protection.Parameters{protection.Restore: {"restore_name": []byte(`"restored"`)}},
			Plugin: func(process *plugintest.Process) protection.Plugin {
				return New(Config{Config: poll.Config{PollInterval: 300 * time.Millisecond}, FromSnapshot: true}, p.Wrapped(process.Transport))
			},
		}
	})
}
