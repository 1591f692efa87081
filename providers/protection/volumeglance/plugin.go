// SPDX-License-Identifier: Apache-2.0

// Package volumeglance protects Cinder's volumes without a Cinder backup service:
// Cinder uploads the volume to Glance as an image, whose data is copied into the
// bank. From there it comes back as an image, and the image as a volume.
package volumeglance

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
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-volume-glance-plugin",
	protection.ClassPrefix + "volume.volume_glance_plugin.VolumeGlanceProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Volume Glance Backup", Schemas: schemas}

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/utils.py
const pieceSize = 65536

// Config is the section of the provider file.
type Config struct {
	PollInterval time.Duration
	PollTimeout  time.Duration // 0 is none
	FromSnapshot bool
	ObjectSize   int // bytes of one data object
}

// Clients makes Cinder and Glance clients for the caller of a context.
type Clients interface {
	volume.Clients
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg     Config
	clients Clients
	cinder  *remote.Gate
	images  *poll.Batch
	poll    poll.Options
	newID   func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	cfg.ObjectSize = max(cfg.ObjectSize/pieceSize, 1) * pieceSize
	return &Plugin{
		cfg:     cfg,
		clients: clients,
		cinder:  remote.NewGate(clients.BlockStorage, cfg.PollInterval, cfg.PollTimeout),
		images:  poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		poll:    poll.Options{Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
		newID:   uuid.NewString,
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

// Operation returns the hooks for one volume. In the original these backups cannot
// be copied, though all that they are is in the bank.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.backUp, p.cleanBackUp), Undo: p.unprotect}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.bring, p.cleanRestore), Undo: frame.Unrestore(p.unrestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: protection.Checked(schemas.Verify, protection.VerifyStatus("volume", "Volume backup", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: p.remove}, nil
	case protection.Copy:
		return protection.CopySection(frame.Title, imagedata.KnownObjects), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
