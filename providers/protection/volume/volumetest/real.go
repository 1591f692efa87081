// SPDX-License-Identifier: Apache-2.0

// Package volumetest takes a volume of a real cloud through a plugin and back.
package volumetest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// Trip is what differs between round trips.
type Trip struct {
	// Plugin makes the plugin under test.
	Plugin func(p *openstacktest.RealProject) protection.Plugin
	// Protect and Restore are parameters, name and value in turn.
	Protect, Restore []string
	// Keep reports that the volume cannot be deleted as long as its backup is there.
	// It is overwritten instead.
	Keep bool
}

// NewProject makes a project of the real cloud, or skips the test without one.
func NewProject(t testing.TB) *openstacktest.RealProject {
	t.Helper()
	return openstacktest.NewRealProject(t, "KARBOR_TEST_CINDER", "KARBOR_TEST_VOLUMES", "KARBOR_TEST_SWIFT", "KARBOR_TEST_GLANCE")
}

// RoundTrip writes bytes to a volume, protects it, loses it, restores it and
// compares; then it deletes the backup. In the end the project holds what it held
// before.
func RoundTrip(t *testing.T, trip Trip) {
	t.Helper()
	p := NewProject(t)
	ctx, before := p.Context(), p.Holdings()
	id := p.Create(openstacktest.Volume, map[string]any{"size": 1, "name": "source"})
	p.WriteVolume(id, 5<<20, openstacktest.Noise(3<<20+1))
	want := p.ReadVolume(id)
	plugin, h, r := trip.Plugin(p), plugintest.New(t), resource.Resource{Type: resource.Volume, ID: id, Name: "source"}

	run := func(kind protection.Kind, parameters ...string) {
		t.Helper()
		h.State = &plugintest.State{}
		if err := h.Run(ctx, plugin, kind, h.Call(r, parameters...)); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	run(protection.Protect, trip.Protect...)
	if trip.Keep {
		p.WriteVolume(id, 0, openstacktest.Noise(1<<20))
	} else {
		p.Delete(openstacktest.Volume, id)
	}
	run(protection.Verify)
	run(protection.Restore, trip.Restore...)
	restored, _ := h.NewResources.Get(id)
	p.Await(openstacktest.Volume, restored, "available")
	if !bytes.Equal(p.ReadVolume(restored), want) {
		t.Error("other bytes came back")
	}
	for i := 0; i+1 < len(trip.Restore); i += 2 {
		if trip.Restore[i] == "restore_name" && p.Show(openstacktest.Volume, restored)["name"] != trip.Restore[i+1] {
			t.Errorf("the restored volume is %v", p.Show(openstacktest.Volume, restored))
		}
	}
	run(protection.Delete)
	p.Delete(openstacktest.Volume, restored)
	if trip.Keep {
		p.Delete(openstacktest.Volume, id)
	}
	if diff := cmp.Diff(before, p.Holdings()); diff != "" {
		t.Errorf("the project holds something else (-before +after):\n%s", diff)
	}
}

// Service is a project as plugintest sees it.
type Service struct{ *openstacktest.RealProject }

var _ plugintest.Service = Service{}

// Inventory implements plugintest.Service. How many objects a backup has depends
// on nothing that is tested, so containers are left out.
func (s Service) Inventory(context.Context) ([]string, error) {
	return slices.DeleteFunc(s.Holdings(), func(line string) bool { return strings.HasPrefix(line, "container ") }), nil
}
