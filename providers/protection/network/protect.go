// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

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

// survey lists all that the project has. What refers to others is listed before
// these, so that what it refers to is there, however the project changes meanwhile.
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
