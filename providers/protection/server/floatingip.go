// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// associate leads the floating IPs of the old server to the new one, those that are
// free: the old server may be there and in use.
func (r *run) associate(ctx context.Context) error {
	if len(r.about.Server.FloatingIPs) == 0 {
		return nil
	}
	ports, err := r.ports(ctx, r.state.ServerID)
	if err != nil {
		return err
	}
	for _, address := range r.about.Server.FloatingIPs {
		if err := r.lead(ctx, address, ports); err != nil {
			return err
		}
	}
	return nil
}

// lead associates a floating IP with the port that has the fixed address which it
// led to, or else with the first.
func (r *run) lead(ctx context.Context, address string, ports []port) error {
	ips, err := r.floatingIPs(ctx, "floating_ip_address", address)
	if err != nil {
		return err
	}
	switch {
	case len(ports) == 0:
		r.noFloatingIP(address, "the server has no network card")
		return nil
	case len(ips) == 0:
		r.noFloatingIP(address, "it is not there any more")
		return nil
	}
	ip := ips[0]
	if ip.PortID != nil && *ip.PortID != "" {
		for _, p := range ports {
			if p.PortID == *ip.PortID {
				return nil // an earlier run did it
			}
		}
		r.noFloatingIP(address, "it is in use")
		return nil
	}
	target := r.about.Server.FloatingTargets[address]
	body := map[string]any{"port_id": ports[0].PortID}
	for _, p := range ports {
		if target != "" && has(p.FixedIPs, target) {
			body = map[string]any{"port_id": p.PortID, "fixed_ip_address": target}
		}
	}
	err = r.changeNeutron(ctx, "floatingips", "floatingip", ip.ID, body)
	if refused(err) {
		r.noFloatingIP(address, hook.Reason(err))
		return nil
	}
	return err
}

func (r *run) noFloatingIP(address, why string) {
	r.call.Remark(remark.Remark{Aspect: "floating IP", Was: address, Why: why})
}

// dissociate frees the floating IPs that lead to a server. Those at ports that
// outlive it would lead there still.
func (r *run) dissociate(ctx context.Context, serverID string) error {
	ports, err := r.ports(ctx, serverID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		ips, err := r.floatingIPs(ctx, "port_id", p.PortID)
		if err != nil {
			return err
		}
		for _, ip := range ips {
			err := r.changeNeutron(ctx, "floatingips", "floatingip", ip.ID, map[string]any{"port_id": nil})
			if err != nil && !openstack.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}
