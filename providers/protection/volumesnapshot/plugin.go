// SPDX-License-Identifier: Apache-2.0

// Package volumesnapshot protects Cinder's volumes by snapshots of them. They lie
// where the volume does, and are gone with its storage; in return they take
// hardly any time.
package volumesnapshot

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-volume-snapshot-plugin",
	protection.ClassPrefix + "volume.volume_snapshot_plugin.VolumeSnapshotProtectionPlugin",
}

// frame has the plugin's name in error texts; verifyTitle is that of a Verify.
var frame = hook.Frame{Title: "Volume Snapshot", Schemas: schemas}

const verifyTitle = "Volume snapshot"

// Config is the section of the provider file.
type Config struct {
	PollInterval time.Duration
	PollTimeout  time.Duration // 0 is none
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cinder *remote.Gate
	newID  func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients volume.Clients) *Plugin {
	return &Plugin{cinder: remote.NewGate(clients.BlockStorage, cfg.PollInterval, cfg.PollTimeout), newID: uuid.NewString}
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

// Operation returns the hooks for one volume. There is no Copy: a snapshot cannot
// leave Cinder, and a second checkpoint that names the same one would lose it
// with the first.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.take, p.cleanTake), Undo: frame.Delete(p.unprotect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.bring, p.cleanRestore), Undo: frame.Unrestore(p.unrestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: protection.Checked(schemas.Verify, p.cinder.Verify(verifyTitle, kept))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
