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
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are the names by which provider files select the plugin.
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
		plan := func(ctx context.Context, c *protection.Call) (map[string]string, error) {
			return frame.Plan(p.plan)(ctx, locate(ctx, c))
		}
		return &protection.Operation{Main: located(frame.Restore(p.restore, p.undoRestore)), Undo: frame.UndoRestore(p.undoRestore), Plan: plan}, nil
	case protection.Verify:
		return &protection.Operation{Main: located(frame.Verify(hook.LookAtStatus("network", whole)))}, nil
	case protection.Delete:
		return &protection.Operation{Main: located(frame.Delete(hook.Purge()))}, nil
	case protection.Copy:
		return frame.Copy(), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// protect writes down what the project has. Run again, it writes what there is
// then.
func (p *Plugin) protect(ctx context.Context, c *protection.Call) error {
	err := c.PutStatus(ctx, protection.StatusProtecting)
	if err == nil {
		err = c.Parameters.Check(schemas.Options)
	}
	var about *metadata
	if err == nil {
		about, err = p.survey(ctx, c)
	}
	if err == nil {
		err = c.Section.PutJSON(ctx, protection.MetadataKey, about)
	}
	if err == nil {
		err = c.PutStatus(ctx, protection.StatusAvailable)
	}
	if err == nil {
		return nil
	}
	if again := protection.Handover(ctx, err); again != nil {
		return again
	}
	c.PutError(ctx)
	if fault.Is(err, "InvalidInput") || fault.Is(err, "GetProtectionNetworkSubResourceFailed") && ctx.Err() == nil {
		return err
	}
	err = protection.Because(ctx, err)
	return fault.CreateResourceFailed(frame.Title, hook.Reason(err), c.Resource.ID, c.Resource.Type).WithCause(err)
}

// survey lists the whole topology of the project. Things are listed before the things that
// they refer to, so that no reference leads nowhere if the project changes meanwhile.
func (p *Plugin) survey(ctx context.Context, c *protection.Call) (*metadata, error) {
	neutron, err := p.service(ctx)
	if err != nil {
		return nil, err
	}
	about := &metadata{ResourceID: c.Resource.ID, BackupName: backupName}
	for i, part := range []struct {
		kind kind
		keys []string
		into *topology
	}{
		{ports, portKeys, &about.Ports},
		{routers, routerKeys, &about.Routers},
		{subnets, subnetKeys, &about.Subnets},
		{networks, networkKeys, &about.Networks},
		{groups, groupKeys, &about.Groups},
	} {
		all, err := list[map[string]json.RawMessage](ctx, neutron, part.kind, c.Resource.ID)
		if err != nil {
			if protection.Handover(ctx, err) != nil {
				return nil, err
			}
			return nil, fault.GetProtectionNetworkSubResourceFailed(resource.Network, hook.Reason(err)).WithCause(err)
		}
		*part.into = topology{}
		for _, thing := range all {
			var id string
			if err := json.Unmarshal(thing["id"], &id); err != nil {
				return nil, err
			}
			(*part.into)[id] = reduced(thing, part.keys)
			remarkUnrestored(c, part.kind, id, thing)
		}
		c.Report((i + 1) * 20)
	}
	spare, err := list[floatingIP](ctx, neutron, floatingIPs, c.Resource.ID)
	if err != nil {
		return nil, err
	}
	for _, ip := range spare {
		ip.remarkSpare(c)
	}
	return about, nil
}

func reduced(thing map[string]json.RawMessage, keys []string) map[string]json.RawMessage {
	kept := map[string]json.RawMessage{}
	for _, key := range keys {
		if value, ok := thing[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

func (p *Plugin) service(ctx context.Context) (*service, error) {
	client, err := p.clients.Network(ctx)
	if err != nil {
		return nil, err
	}
	return &service{client, p, requestcontext.From(ctx).ProjectID}, nil
}
