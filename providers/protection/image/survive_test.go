// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Inventory implements plugintest.Service.
func (g *fakeGlance) Inventory(context.Context) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	there := []string{}
	for id, image := range g.images {
		there = append(there, fmt.Sprintf("%s %s %x", image["name"], image["status"], len(g.data[id])))
	}
	return there, nil
}

// newProcess makes the plugin as a new process does.
func newProcess(g *fakeGlance, p *plugintest.Process) protection.Plugin {
	return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, ObjectSize: pieceSize, ServerSnapshot: true}, g.Wrapped(p.Transport))
}

func worldOf(t testing.TB, g *fakeGlance) *plugintest.World {
	return &plugintest.World{
		Service:  g,
		Resource: tiny,
		Plugin:   func(p *plugintest.Process) protection.Plugin { return newProcess(g, p) },
		Caller:   requestcontext.From(openstacktest.Context(t)),
		Parameters: map[protection.Kind]protection.Parameters{
			protection.Restore: {"restore_name": json.RawMessage(`"restored"`)},
		},
	}
}

func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		g := newGlance(t)
		g.add(tiny.ID, noise(pieceSize+5))
		return worldOf(t, g)
	})
}

// The image of a server, which Nova makes a snapshot of, in two looks.
func TestSurvivesWithSnapshots(t *testing.T) {
	t.Parallel()
	options := plugintest.Options{Kinds: []protection.Kind{protection.Protect, protection.Delete}}
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		g := newGlance(t)
		g.add(tiny.ID, noise(10))
		snapshot(g, "s1", noise(pieceSize))
		w := worldOf(t, g)
		w.Resource = ofServer(`{"server_id": "s1"}`)
		return w
	})
}
