// SPDX-License-Identifier: Apache-2.0

package protection_test

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

var frame = hook.Frame{Title: "Note"}

// notes protects volumes by noting that they exist.
type notes struct{ prefix string }

func (notes) Types() []string { return []string{resource.Volume} }

func (notes) Schemas(string) protection.Schemas {
	return protection.Schemas{Options: []byte(`{}`), Restore: []byte(`{}`), SavedInfo: []byte(`{}`)}
}

func (n notes) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: func(ctx context.Context, c *protection.Call) error {
			return c.Section.PutText(ctx, "note", n.prefix+c.Resource.Name)
		}}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(hook.Purge())}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// A plugin of one's own becomes known by a name that provider files use.
func ExampleRegistry_Register() {
	registry := protection.NewRegistry()
	options := []config.Option{{Group: "notes_plugin", Name: "prefix", Default: "volume "}}
	registry.Register([]string{"example-notes-plugin"}, options, func(cfg *config.Config, _ protection.Deps) (protection.Plugin, error) {
		return notes{prefix: cfg.String("notes_plugin", "prefix")}, nil
	})

	entry, err := registry.Lookup("example-notes-plugin")
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := config.Load(config.Source{}, entry.Options)
	if err != nil {
		fmt.Println(err)
		return
	}
	plugin, err := entry.Build(cfg, protection.Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plugin.Types())
	_, err = plugin.Operation(protection.Copy, resource.Resource{Type: resource.Volume, ID: "v1"})
	fmt.Println(err)
	// Output:
	// [OS::Cinder::Volume]
	// copy of OS::Cinder::Volume#v1: protection plugin has no such operation
}
