// SPDX-License-Identifier: Apache-2.0

// Package image protects Glance's images: their data are copied into the bank,
// and restored as a new image. With enable_server_snapshot, an image that a
// server was booted from is protected as a snapshot of that server instead, so
// that what was written to its disk is kept.
package image

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-image-protection-plugin",
	protection.ClassPrefix + "image.image_protection_plugin.GlanceProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Image Backup", Verified: "Image backup", Schemas: schemas}

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/image/image_protection_plugin.py
const pieceSize = 65536

const group = "image_backup_plugin"

// Options are read from the provider file.
var Options = slices.Concat(
	[]config.Option{{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 10 * pieceSize, Help: "Bytes of one object of image data in the bank, a multiple of 65536."}},
	poll.ConfigOptions(group, "the status of an image or server", 10*time.Second, poll.Day),
	[]config.Option{{Group: group, Name: "enable_server_snapshot", Kind: config.Bool, Default: true, Help: "Protect a snapshot of the server in place of the image that it was booted from."}},
)

// Config is the section of the provider file.
type Config struct {
	poll.Config
	ObjectSize     int // bytes of one data object
	ServerSnapshot bool
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Config:         poll.FromConfig(cfg, group),
		ObjectSize:     cfg.Int(group, "backup_image_object_size"),
		ServerSnapshot: cfg.Bool(group, "enable_server_snapshot"),
	}
}

// Clients makes Glance and Nova clients for the caller of a context.
type Clients interface {
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Glance::Image.
type Plugin struct {
	cfg     Config
	clients Clients
	glance  *imagedata.Client
	newID   func() string
	poll    poll.Options
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin. A wrong object size is the error of each Operation.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{
		cfg: cfg, clients: clients, glance: imagedata.NewClient(cfg.Config, clients.Image), newID: uuid.NewString,
		poll: poll.Options{Interval: cfg.PollInterval, Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Glance::Image.
func (*Plugin) Types() []string { return []string{resource.Image} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one image. In the original images cannot be
// copied, though all that is copied is in the bank.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	if p.cfg.ObjectSize <= 0 || p.cfg.ObjectSize%pieceSize != 0 {
		return nil, fault.InvalidParameterValue("The value of CONF.backup_image_object_size is invalid!")
	}
	switch kind {
	case protection.Protect:
		return p.operation(&protection.Operation{Main: frame.Protect(true, p.backUp, p.clean), Undo: frame.Delete(p.undoProtect)}, true), nil
	case protection.Restore:
		return p.operation(&protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, false), nil
	case protection.Verify:
		return p.operation(&protection.Operation{Main: frame.Verify(hook.LookAtStatus("image", whole))}, false), nil
	case protection.Delete:
		return p.operation(&protection.Operation{Main: frame.Delete(imagedata.Purge)}, false), nil
	case protection.Copy:
		return p.operation(frame.Copy(imagedata.KnownObjects), false), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
