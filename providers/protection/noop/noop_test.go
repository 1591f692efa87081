// SPDX-License-Identifier: Apache-2.0

package noop

import (
	"context"
	"testing"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, New())
}

// nobody is a service that has nothing.
type nobody struct{}

func (nobody) Inventory(context.Context) ([]string, error) { return nil, nil }

func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(testing.TB) *plugintest.World {
		return &plugintest.World{
			Service:  nobody{},
			Resource: resource.Resource{Type: resource.Volume, ID: "v"},
			Plugin:   func(*plugintest.Process) protection.Plugin { return New() },
		}
	})
}

func TestNothingIsDone(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	r := resource.Resource{Type: resource.Volume, ID: "v"}
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy} {
		if err := h.Run(t.Context(), New(), kind, h.Call(r)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if keys := h.Keys(r); len(keys) != 0 {
		t.Errorf("the bank has %v", keys)
	}
}

func TestSchemasOfTheOriginal(t *testing.T) {
	t.Parallel()
	s := New().Schemas(resource.Server)
	if string(s.Options) != "{}" || string(s.Restore) != "{}" || string(s.SavedInfo) != "{}" || s.Verify != nil {
		t.Errorf("got %s", s)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	for _, name := range []string{
		"karbor-noop-protection-plugin",
		"karbor.services.protection.protection_plugins.noop_plugin.NoopProtectionPlugin",
	} {
		entry, err := r.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if plugin, err := entry.Build(nil, protection.Deps{}); err != nil || len(plugin.Types()) != 8 {
			t.Errorf("%s: %v, %v", name, plugin, err)
		}
	}
}
