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
var frame = hook.Frame{Title: "Volume Glance Backup", Verified: "Volume backup", Objects: []string{volume.PropertiesKey}, Schemas: schemas}

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/utils.py
const pieceSize = 65536

const group = "volume_glance_plugin"

// Options are read from the provider file.
var Options = append(poll.ConfigOptions(group, "the status of volumes, snapshots and images", 15*time.Second, poll.Week),
	config.Option{Group: group, Name: "backup_from_snapshot", Kind: config.Bool, Default: true, Help: "Upload a temporary volume made from a snapshot, not the volume itself."},
	config.Option{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 512 * pieceSize, Help: "Bytes of one object of volume data in the bank, rounded down to a multiple of 65536."},
)

// Config is the section of the provider file.
type Config struct {
	poll.Config
	FromSnapshot bool
	ObjectSize   int // bytes of one data object
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Config:       poll.FromConfig(cfg, group),
		FromSnapshot: cfg.Bool(group, "backup_from_snapshot"),
		ObjectSize:   cfg.Int(group, "backup_image_object_size"),
	}
}

// Clients makes Cinder and Glance clients for the caller of a context.
type Clients interface {
	volume.Clients
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg    Config
	cinder *remote.Client
	glance *imagedata.Client
	newID  func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	cfg.ObjectSize = max(cfg.ObjectSize/pieceSize, 1) * pieceSize
	return &Plugin{
		cfg:    cfg,
		cinder: remote.NewClient(cfg.Config, clients.BlockStorage),
		glance: imagedata.NewClient(cfg.Config, clients.Image),
		newID:  uuid.NewString,
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
		return &protection.Operation{Main: frame.Protect(true, p.backUp, p.cleanBackUp), Undo: frame.Delete(p.undoProtect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("volume", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	case protection.Copy:
		return frame.Copy(imagedata.KnownObjects), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
