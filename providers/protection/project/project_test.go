// SPDX-License-Identifier: Apache-2.0

package project

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
			Resource: resource.Resource{Type: resource.Project, ID: "p"},
			Plugin:   func(*plugintest.Process) protection.Plugin { return New() },
		}
	})
}

// The topology of a project has the project's id, and so the same section of the
// bank: the project leaves that alone.
func TestNothingIsDone(t *testing.T) {
	t.Parallel()
	h := plugintest.New(t)
	r := resource.Resource{Type: resource.Project, ID: "p"}
	section := h.Call(r).Section
	if err := section.PutText(t.Context(), protection.StatusKey, "the topology's"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []protection.Kind{protection.Protect, protection.Restore, protection.Verify, protection.Delete, protection.Copy} {
		if err := h.Run(t.Context(), New(), kind, h.Call(r)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if text, err := section.GetText(t.Context(), protection.StatusKey); err != nil || text != "the topology's" {
		t.Errorf("status is %q now, %v", text, err)
	}
}
