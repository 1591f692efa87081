// SPDX-License-Identifier: Apache-2.0

// Package network protects the network topology of a project: networks, subnets,
// ports, routers with their interfaces, and security groups with their rules, as
// Neutron describes them. A restore makes them anew, in the order in which they
// need each other, and maps the old ids to the new ones. External networks are
// not a project's own and are not restored, nor are the ports that Neutron makes
// by itself.
package network

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-network-protection-plugin",
	protection.ClassPrefix + "network.neutron_protection_plugin.NeutronProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Network Backup", Verified: "Network backup", Schemas: schemas}

const group = "neutron_backup_protection_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the status of networks, routers and ports", 15*time.Second, poll.Day)

// Clients makes Neutron clients for the caller of a context.
type Clients interface {
	Network(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Neutron::Network.
type Plugin struct {
	clients Clients
	newID   func() string
	polls   *poll.Batch
	poll    poll.Options
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, clients Clients) *Plugin {
	return &Plugin{
		clients: clients,
		newID:   uuid.NewString,
		polls:   poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		poll:    poll.Options{Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(poll.FromConfig(cfg, group), deps.Clients), nil
	})
}

// Types returns OS::Neutron::Network.
func (*Plugin) Types() []string { return []string{resource.Network} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for the topology of one project.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: p.protect}, nil
	case protection.Restore:
		return &protection.Operation{Main: located(frame.Restore(p.restore, p.undoRestore)), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: located(frame.Verify(hook.LookAtStatus("network", whole)))}, nil
	case protection.Delete:
		return &protection.Operation{Main: located(frame.Delete(hook.Purge()))}, nil
	case protection.Copy:
		return frame.Copy(), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
