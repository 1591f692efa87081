// SPDX-License-Identifier: Apache-2.0

// Package image protects Glance's images: their data is copied into the bank,
// and restored as a new image. With enable_server_snapshot, an image that a
// server was booted from is protected as a snapshot of that server instead, so
// that what was written to its disk is kept.
package image

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are those by which provider files ask for the plugin.
var Names = []string{
	"karbor-image-protection-plugin",
	protection.ClassPrefix + "image.image_protection_plugin.GlanceProtectionPlugin",
}

// title is the plugin's name in error texts.
const title = "Image Backup"

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/image/image_protection_plugin.py
const pieceSize = 65536

// Config is the section of the provider file.
type Config struct {
	ObjectSize     int // bytes of one data object
	PollInterval   time.Duration
	PollTimeout    time.Duration // 0 is none
	ServerSnapshot bool
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
	newID   func() string
	poll    poll.Options
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin. A wrong object size is the error of each Operation.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{cfg: cfg, clients: clients, newID: uuid.NewString, poll: poll.Options{
		Interval:  cfg.PollInterval,
		Timeout:   cfg.PollTimeout,
		Transient: openstack.IsTransient,
		Patience:  5,
	}}
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
		return p.operation(&protection.Operation{Main: p.protect, Undo: p.unprotect}, true), nil
	case protection.Restore:
		return p.operation(&protection.Operation{Main: p.restore, Undo: p.unrestore}, false), nil
	case protection.Verify:
		main := protection.Checked(schemas.Verify, protection.VerifyStatus("image", "Image backup", whole))
		return p.operation(&protection.Operation{Main: main}, false), nil
	case protection.Delete:
		return p.operation(&protection.Operation{Main: protection.Purge(title, imagedata.KnownObjects, imagedata.KnownManifest)}, false), nil
	case protection.Copy:
		return p.operation(protection.CopySection(title, imagedata.KnownObjects), false), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}
