// SPDX-License-Identifier: Apache-2.0

// Package freezer protects Cinder's volumes by jobs of Freezer. A job is one task
// of a freezer-scheduler: to back up, to restore, or to remove what is old. It is
// made, started and waited for, and has no use afterwards.
package freezer

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-volume-freezer-plugin",
	protection.ClassPrefix + "volume.volume_freezer_plugin.FreezerProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Freezer Backup FreezerTask", Schemas: schemas}

// Config is the section of the provider file.
type Config struct {
	poll.Config
	SchedulerID string // "": any
	Storage     Storage
}

// Clients makes Freezer and Cinder clients for the caller of a context.
type Clients interface {
	volume.Clients
	Backup(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg     Config
	clients Clients
	cinder  *remote.Client
	polls   *poll.Batch
	poll    poll.Options
	newID   func() string
	pick    func(n int) int // one of n schedulers
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{
		cfg:     cfg,
		clients: clients,
		cinder:  remote.NewClient(cfg.Config, clients.BlockStorage),
		polls:   poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		poll:    poll.Options{Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
		newID:   uuid.NewString,
		pick:    rand.IntN,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Cinder::Volume.
func (*Plugin) Types() []string { return []string{resource.Volume} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one volume. There is no Verify: Freezer has no
// job that looks at a backup. And no Copy: what a backup holds is in the keeping
// of Freezer's storage.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.backUp, p.cleanBackUp), Undo: frame.Delete(p.undoProtect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
