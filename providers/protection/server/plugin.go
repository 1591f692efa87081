// SPDX-License-Identifier: Apache-2.0

// Package server protects Nova's servers: what they are made of is written down,
// and restored as a new server on the volumes, the image and the networks that the
// same restore has made. A server has no data of its own in the bank; its volumes
// and its image are resources beside it.
package server

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
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-server-protection-plugin",
	protection.ClassPrefix + "server.nova_protection_plugin.NovaProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Server Backup", Verified: "Server backup", Schemas: schemas}

const group = "nova_backup_protection_plugin"

// Options are read from the provider file.
var Options = poll.ConfigOptions(group, "the status of servers and of their volumes", 15*time.Second, poll.Day)

// Clients makes clients of Nova, Cinder and Neutron for the caller of a context.
type Clients interface {
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
	BlockStorage(ctx context.Context) (*gophercloud.ServiceClient, error)
	Network(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Nova::Server.
type Plugin struct {
	clients Clients
	cinder  *remote.Client
	newID   func() string
	polls   *poll.Batch
	poll    poll.Options
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg poll.Config, clients Clients) *Plugin {
	return &Plugin{
		clients: clients,
		cinder:  remote.NewClient(cfg, clients.BlockStorage),
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

// Types returns OS::Nova::Server.
func (*Plugin) Types() []string { return []string{resource.Server} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one server. It is restored when what it is
// connected with is there.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		nothing := func(context.Context, *protection.Call, error) error { return nil }
		return &protection.Operation{Main: frame.Protect(true, p.protect, nothing)}, nil
	case protection.Restore:
		return &protection.Operation{Complete: frame.Restore(p.restore, p.undoRestore), Uses: []string{resource.Network}, Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("server", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(hook.Purge())}, nil
	case protection.Copy:
		return frame.Copy(), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
