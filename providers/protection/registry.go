// SPDX-License-Identifier: Apache-2.0

package protection

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
)

// ClassPrefix begins the class path of every plugin of the original, which
// provider files may use in place of the entry-point name.
const ClassPrefix = "karbor.services.protection.protection_plugins."

// Deps is what the daemon gives to the plugins that it builds.
type Deps struct {
	Clients *openstack.Factory
	// Cluster is the Kubernetes cluster of karbor.conf. Nil: the program is built
	// without Kubernetes.
	Cluster kubernetes.Cluster
	Log     logrus.FieldLogger
}

// Builder makes a plugin from a provider file that was read with the options of
// the same Entry. An option with a bad value is better reported by the plugin's
// Operation: then the provider is still listed, and users see the reason.
type Builder func(cfg *config.Config, deps Deps) (Plugin, error)

// Entry is a plugin that provider files can name.
type Entry struct {
	// Names are the entry-point name first, then other accepted names.
	Names   []string
	Options []config.Option
	Build   Builder
}

// Registry knows plugins by name. Fill it before use: it is not safe for
// Register and Lookup at the same time.
type Registry struct {
	entries []*Entry
	byName  map[string]*Entry
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{byName: map[string]*Entry{}} }

// Register adds a plugin under its names: the entry-point name first, then the
// class path. A name that is taken already is a mistake of the programmer and
// panics.
func (r *Registry) Register(names []string, options []config.Option, build Builder) {
	entry := &Entry{Names: names, Options: options, Build: build}
	for _, name := range names {
		if _, taken := r.byName[name]; taken {
			panic("protection: plugin name " + name + " is registered twice")
		}
		r.byName[name] = entry
	}
	r.entries = append(r.entries, entry)
}

// Lookup finds a plugin by entry-point name or class path.
func (r *Registry) Lookup(name string) (*Entry, error) {
	entry, ok := r.byName[name]
	if !ok {
		var names []string
		for _, known := range r.entries {
			names = append(names, known.Names[0])
		}
		return nil, fmt.Errorf("protection plugin %q is not known; there are %s", name, strings.Join(names, ", "))
	}
	return entry, nil
}

// Entries returns all plugins in the order of their registration, for the
// configuration reference.
func (r *Registry) Entries() []*Entry { return r.entries }
