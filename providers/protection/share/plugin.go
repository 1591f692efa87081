// SPDX-License-Identifier: Apache-2.0

// Package share protects Manila's shares by snapshots that Manila keeps.
package share

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-share-protection-plugin",
	protection.ClassPrefix + "share.share_snapshot_plugin.ManilaSnapshotProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Share Snapshot", Schemas: schemas}

// Config is the section of the provider file.
type Config struct {
	PollInterval time.Duration
	PollTimeout  time.Duration // 0 is none
}

// Clients makes Manila clients for the caller of a context.
type Clients interface {
	Share(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Manila::Share.
type Plugin struct {
	manila *remote.Gate
	newID  func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{manila: remote.NewGate(clients.Share, cfg.PollInterval, cfg.PollTimeout), newID: uuid.NewString}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Manila::Share.
func (*Plugin) Types() []string { return []string{resource.Share} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one share. There is no Copy: the snapshot is in
// Manila's keeping, and a second checkpoint that names the same one would lose it
// with the first.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.snapshot, p.clean), Undo: frame.Delete(p.unprotect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.bring, p.cleanRestore), Undo: frame.Unrestore(p.unrestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: protection.Checked(schemas.Verify, p.manila.Verify("Share snapshot", kept))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
