// SPDX-License-Identifier: Apache-2.0

// Package server protects Nova's servers: it records the attributes of a server, and
// restores a new server on the volumes, the image and the networks that the same restore
// has made. A server has no data of its own in the bank; its volumes
// and its image are resources beside it.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Names are the names by which provider files select the plugin.
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

// Operation returns the hooks for one server. The server is restored after the resources
// that it is connected with.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		nothing := func(context.Context, *protection.Call, error) error { return nil }
		return &protection.Operation{Main: frame.Protect(true, p.protect, nothing)}, nil
	case protection.Restore:
		return &protection.Operation{Complete: frame.Restore(p.restore, p.undoRestore), Uses: []string{resource.Network}, Undo: frame.UndoRestore(p.undoRestore), Plan: frame.Plan(p.plan)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(hook.LookAtStatus("server", whole))}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(hook.Purge())}, nil
	case protection.Copy:
		return frame.Copy(), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// volumesAtATime is how many volumes are read at the same time.
const volumesAtATime = 4

// protect writes down what the server is made of. Run again, it writes what there
// is then.
func (p *Plugin) protect(ctx context.Context, c *protection.Call) error {
	cloud, err := p.cloud(ctx)
	if err != nil {
		return err
	}
	about := metadata{ResourceID: c.Resource.ID}
	if about.Attachments, err = cloud.attachments(ctx, c); err != nil {
		return err
	}
	found, err := cloud.shown(ctx, c.Resource.ID)
	if err != nil {
		return err
	}
	if about.Boot = bootOf(found, about.Attachments); !about.Boot.known() {
		return errors.New(noBootDevice) // it could never be restored
	}
	if err := checkParts(c, found); err != nil {
		return err
	}
	if err := cloud.remarkUnrestored(ctx, c, found); err != nil {
		return err
	}
	if about.Server, err = cloud.describe(ctx, found); err != nil {
		return err
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, about)
}

// checkParts fails if the image or a volume of the server is not protected with it: no
// restore could bring it back.
func checkParts(c *protection.Call, s *server) error {
	node := c.Graph.Find(c.Resource.Key())
	protected := func(kind, id string) bool {
		return node != nil && slices.ContainsFunc(node.Children, func(n *resource.Node) bool { return n.Type == kind && n.ID == id })
	}
	if image := string(s.Image); image != "" && !protected(resource.Image, image) {
		return &hook.Failure{Text: fmt.Sprintf("Image %s, which the server was booted from, is not protected with it", image)}
	}
	for _, v := range s.Attached {
		if !protected(resource.Volume, v.ID) {
			return &hook.Failure{Text: fmt.Sprintf("Volume %s, which is attached to the server, is not protected with it", v.ID)}
		}
	}
	return nil
}

// remarkUnrestored remarks what of a server will not come back.
func (c *cloud) remarkUnrestored(ctx context.Context, call *protection.Call, s *server) error {
	if s.ConfigDrive == "True" {
		call.Remark(remark.Remark{Aspect: "config drive", Was: "attached", Why: "a server is restored without one"})
	}
	if s.Locked { // what locks it could not take the restore back
		call.Remark(remark.Remark{Aspect: "lock", Was: "locked", Is: "not locked", Why: "a restore does not lock the server"})
	}
	flavor, err := openstack.Show[struct {
		Ephemeral int `json:"OS-FLV-EXT-DATA:ephemeral"` // GiB
	}](ctx, c.nova, "flavors", s.Flavor.ID, "flavor")
	switch {
	case openstack.IsNotFound(err):
		call.Remark(remark.Remark{Aspect: "flavor", Was: s.Flavor.ID, Why: "it is not there any more: a restore needs the parameter restore_flavor_id"})
	case err != nil:
		return err
	case flavor.Ephemeral > 0:
		call.Remark(remark.Remark{Aspect: "ephemeral disk", Was: fmt.Sprintf("%d GiB", flavor.Ephemeral), Is: "empty", Why: "its data are neither in an image nor in a volume"})
	}
	return nil
}

// attachments returns the attachments of the volumes that are protected with the server,
// wherever they stand in the graph.
func (c *cloud) attachments(ctx context.Context, call *protection.Call) (map[string]attachment, error) {
	found := map[string]attachment{}
	node := call.Graph.Find(call.Resource.Key())
	if node == nil {
		return found, nil
	}
	var volumes []string
	for _, child := range node.Children {
		if child.Type == resource.Volume {
			volumes = append(volumes, child.ID)
		}
	}
	shown := make([]attachment, len(volumes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(volumesAtATime)
	for i, id := range volumes {
		group.Go(func() (err error) {
			shown[i], err = c.attachment(ctx, id, call.Resource.ID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, a := range shown {
		if a != nil {
			found[volumes[i]] = a
		}
	}
	return found, nil
}

// attachment returns the attachment of a volume to a server, nil without one.
func (c *cloud) attachment(ctx context.Context, volumeID, serverID string) (attachment, error) {
	v, err := openstack.Show[struct {
		Bootable    string       `json:"bootable"`
		Attachments []attachment `json:"attachments"`
	}](ctx, c.cinder.ServiceClient, "volumes", volumeID, "volume")
	if err != nil {
		return nil, err
	}
	for _, a := range v.Attachments {
		if a["server_id"] == serverID {
			a["bootable"] = v.Bootable
			return a, nil
		}
	}
	return nil, nil
}

// bootOf says what a server was booted from. Of several volumes that it could have
// been, it is the one at the first device.
func bootOf(s *server, attachments map[string]attachment) boot {
	if s.Image != "" {
		return boot{Device: bootImage, ImageID: string(s.Image)}
	}
	b := boot{Device: bootVolume}
	for _, id := range byDevice(attachments) {
		if attachments[id].bootable() {
			b.VolumeID, b.Attachment = id, attachments[id]
			break
		}
	}
	return b
}

// byDevice returns volumes in the order of their devices.
func byDevice(attachments map[string]attachment) []string {
	return slices.SortedFunc(maps.Keys(attachments), func(a, b string) int {
		x, y := attachments[a].device(), attachments[b].device()
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y), cmp.Compare(a, b))
	})
}

// describe writes down flavor, addresses and the rest of a server.
func (c *cloud) describe(ctx context.Context, s *server) (about, error) {
	a := about{
		AvailabilityZone: s.Zone, Networks: []string{}, FloatingIPs: []string{}, Flavor: s.Flavor.ID, KeyName: s.KeyName,
		SecurityGroups: s.Groups, FloatingTargets: map[string]string{}, Metadata: s.Metadata, Tags: s.Tags,
	}
	if s.Description != nil && *s.Description != s.Name {
		a.Description = *s.Description
	}
	nics, err := c.ports(ctx, s.ID)
	if err != nil {
		return a, err
	}
	place := func(n nic) int {
		at := slices.IndexFunc(s.Networks, func(x address) bool { return x.MAC == n.MAC })
		if at < 0 {
			return len(s.Networks)
		}
		return at
	}
	slices.SortFunc(nics, func(x, y nic) int { return cmp.Or(cmp.Compare(place(x), place(y)), cmp.Compare(x.PortID, y.PortID)) })
	a.Interfaces = nics
	for _, n := range nics {
		if !slices.Contains(a.Networks, n.NetworkID) {
			a.Networks = append(a.Networks, n.NetworkID)
		}
	}
	for _, x := range s.Networks {
		if x.Kind != "floating" {
			continue
		}
		a.FloatingIPs = append(a.FloatingIPs, x.Address)
		ips, err := c.floatingIPs(ctx, "floating_ip_address", x.Address)
		if err != nil {
			return a, err
		}
		for _, ip := range ips {
			if ip.Fixed != nil {
				a.FloatingTargets[x.Address] = *ip.Fixed
			}
		}
	}
	return a, nil
}

func (p *Plugin) cloud(ctx context.Context) (*cloud, error) {
	c := &cloud{plugin: p, project: requestcontext.From(ctx).ProjectID}
	var err error
	if c.nova, err = p.clients.Compute(ctx); err != nil {
		return nil, err
	}
	if c.neutron, err = p.clients.Network(ctx); err != nil {
		return nil, err
	}
	c.cinder, err = p.cinder.For(ctx)
	return c, err
}
