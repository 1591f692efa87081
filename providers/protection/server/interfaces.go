// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// addNetworks adds a network card for each that the server had: the port that was
// restored in place of the old one, or a port that Nova makes, at the old address
// where that is free and the network is the caller's own.
func (r *run) addNetworks(ctx context.Context, body map[string]any) error {
	cards, made := []any{}, false
	for _, n := range r.cards {
		if id, ok := r.call.NewResources.Get(n.PortID); ok {
			cards = append(cards, map[string]any{"port": id})
			continue
		}
		made = true
		card := map[string]any{"uuid": r.networkOf(n)}
		address, err := r.freeAddress(ctx, n)
		if err != nil {
			return err
		}
		if address != "" {
			card["fixed_ip"] = address
		}
		cards = append(cards, card)
	}
	if len(cards) > 0 {
		body["networks"] = cards
	}
	if made {
		return r.addGroups(ctx, body)
	}
	return nil // ports have groups of their own
}

// chosenCards are the cards that the server had, on the networks that the user has chosen
// for them. The original noted no more than networks.
func (r *run) chosenCards(ctx context.Context) ([]nic, error) {
	cards := slices.Clone(r.about.Server.Interfaces)
	if len(cards) == 0 {
		for _, id := range r.about.Server.Networks {
			cards = append(cards, nic{NetworkID: id})
		}
	}
	chosen := r.parameter("restore_net_id", "")
	if chosen != "" && r.parameter("restore_networks", "") != "" {
		return nil, &hook.Failure{Text: "restore_net_id is a network for all cards, restore_networks one for each: only one of them can be given"}
	}
	if chosen != "" {
		id, err := r.network(ctx, "restore_net_id", chosen)
		return []nic{{NetworkID: id, SecurityGroups: r.groups(), chosen: true}}, err
	}
	if chosen = r.parameter("restore_networks", ""); chosen == "" {
		return cards, nil
	}
	networks := strings.Split(chosen, ",")
	if len(networks) > len(cards) {
		return nil, &hook.Failure{Text: fmt.Sprintf("restore_networks: %d networks for %d network cards", len(networks), len(cards))}
	}
	for i, network := range networks {
		if network = strings.TrimSpace(network); network == "" {
			continue
		}
		id, err := r.network(ctx, "restore_networks", network)
		if err != nil {
			return nil, err
		}
		cards[i] = nic{NetworkID: id, SecurityGroups: cards[i].SecurityGroups, chosen: true}
	}
	return cards, nil
}

// networkOf returns the network that there is now for a card.
func (r *run) networkOf(n nic) string {
	if n.chosen {
		return n.NetworkID
	}
	return r.standing(n.NetworkID)
}

// network returns the id of a network that a parameter names by its id or name.
func (r *run) network(ctx context.Context, parameter, text string) (string, error) {
	type network struct {
		ID string `json:"id"`
	}
	_, err := openstack.Show[network](ctx, r.neutron, "networks", text, "network")
	if !openstack.IsNotFound(err) {
		return text, err
	}
	found, err := openstack.List[network](ctx, r.neutron, "networks", "networks", url.Values{"name": {text}})
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", &hook.Failure{Text: fmt.Sprintf("%s: %d networks have the id or name %q", parameter, len(found), text)}
	}
	return found[0].ID, nil
}

// groups are the ids of all security groups of the server's cards.
func (r *run) groups() []string {
	var all []string
	for _, n := range r.about.Server.Interfaces {
		for _, id := range n.SecurityGroups {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// freeAddress returns the first address of a card if the caller may have it on the
// network that there is now.
func (r *run) freeAddress(ctx context.Context, n nic) (string, error) {
	if len(n.FixedIPs) == 0 {
		return "", nil
	}
	id, address := r.networkOf(n), n.FixedIPs[0].Address
	network, err := openstack.Show[struct {
		ProjectID string `json:"tenant_id"`
	}](ctx, r.neutron, "networks", id, "network")
	if openstack.IsNotFound(err) {
		return "", &hook.Failure{Text: fmt.Sprintf("Network %s of the server is not there any more: restore_networks names another", id), Err: err}
	}
	if err == nil && network.ProjectID != r.project {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	ports, err := openstack.List[port](ctx, r.neutron, "ports", "ports", url.Values{"network_id": {id}, "fixed_ips": {"ip_address=" + address}})
	if err != nil || len(ports) > 0 {
		return "", err
	}
	return address, nil
}

// addGroups adds the security groups by their ids, since several groups may share a name
// by now.
func (r *run) addGroups(ctx context.Context, body map[string]any) error {
	groups := []named{}
	for _, id := range r.groups() {
		id = r.standing(id)
		_, err := openstack.Show[struct{}](ctx, r.neutron, "security-groups", id, "security_group")
		switch {
		case openstack.IsNotFound(err):
			r.noGroup(id)
		case err != nil:
			return err
		default:
			groups = append(groups, named{id})
		}
	}
	if len(r.about.Server.Interfaces) == 0 {
		var err error
		if groups, err = r.groupsByName(ctx); err != nil {
			return err
		}
	}
	if len(groups) > 0 {
		body["security_groups"] = groups
	}
	return nil
}

func (r *run) noGroup(name string) {
	r.call.Remark(remark.Remark{Aspect: "security group", Was: name, Why: "it is not there any more"})
}

// groupsByName finds the groups of which only the name is known. A group that this restore
// has made comes before others.
func (r *run) groupsByName(ctx context.Context) ([]named, error) {
	groups := []named{}
	for _, wanted := range r.about.Server.SecurityGroups {
		found, err := openstack.List[struct {
			ID string `json:"id"`
		}](ctx, r.neutron, "security-groups", "security_groups", url.Values{"name": {wanted.Name}, "project_id": {r.project}})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			r.noGroup(wanted.Name)
			continue
		}
		id := found[0].ID
		for _, g := range found {
			if r.call.NewResources.Made(g.ID) {
				id = g.ID
			}
		}
		if !slices.Contains(groups, named{id}) {
			groups = append(groups, named{id})
		}
	}
	return groups, nil
}

// fixCards gives the ports that Nova made the rest of their addresses, for it lets
// nobody ask for more than one, and takes from them the groups that only other cards
// had, for it gives all of them to each.
func (r *run) fixCards(ctx context.Context) error {
	if r.parameter("restore_net_id", "") != "" || len(r.about.Server.Interfaces) == 0 {
		return nil
	}
	ports, err := r.ports(ctx, r.state.ServerID)
	if err != nil {
		return err
	}
	for _, old := range r.cards {
		if _, restored := r.call.NewResources.Get(old.PortID); restored {
			continue
		}
		at := closest(ports, r.networkOf(old), old)
		if at < 0 {
			continue
		}
		now := ports[at]
		ports = slices.Delete(ports, at, at+1)
		if err := r.fixAddresses(ctx, old, now); err != nil {
			return err
		}
		if err := r.fixGroups(ctx, old, now); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) fixAddresses(ctx context.Context, old, now port) error {
	if len(old.FixedIPs) == 0 || sameAddresses(old.FixedIPs, now.FixedIPs) {
		return nil // any will do, or they are right
	}
	wanted := []fixedIP{}
	for _, ip := range old.FixedIPs {
		wanted = append(wanted, fixedIP{SubnetID: r.standing(ip.SubnetID), Address: ip.Address})
	}
	err := r.changeNeutron(ctx, "ports", "port", now.PortID, map[string]any{"fixed_ips": wanted})
	if refused(err) {
		r.call.Remark(remark.Remark{Aspect: "addresses", Was: addressesOf(old), Is: addressesOf(now), Why: hook.Reason(err)})
		return nil
	}
	return err
}

// fixGroups removes groups from a port that the old port did not have. If none of the old
// groups is left, the port keeps the groups that it was given: a port without any group
// gets no traffic at all.
func (r *run) fixGroups(ctx context.Context, old, now port) error {
	wanted := []string{}
	for _, id := range old.SecurityGroups {
		if id = r.standing(id); slices.Contains(now.SecurityGroups, id) {
			wanted = append(wanted, id)
		}
	}
	if len(wanted) == len(now.SecurityGroups) || len(wanted) == 0 && len(old.SecurityGroups) > 0 {
		return nil
	}
	err := r.changeNeutron(ctx, "ports", "port", now.PortID, map[string]any{"security_groups": wanted})
	if refused(err) {
		r.call.Remark(remark.Remark{Aspect: "security groups of a card", Was: groupsOf(old), Is: groupsOf(now), Why: hook.Reason(err)})
		return nil
	}
	return err
}

// closest returns the port on a network that is most like an old one: best with one
// of its addresses.
func closest(ports []port, network string, old nic) int {
	found := -1
	for i, p := range ports {
		if p.NetworkID != network {
			continue
		}
		if slices.ContainsFunc(p.FixedIPs, func(ip fixedIP) bool { return has(old.FixedIPs, ip.Address) }) {
			return i
		}
		if found < 0 {
			found = i
		}
	}
	return found
}

// addressesOf and groupsOf say what a card has, and where.
func addressesOf(n nic) string {
	var all []string
	for _, ip := range n.FixedIPs {
		all = append(all, ip.Address)
	}
	return strings.Join(all, ", ") + " on network " + n.NetworkID
}

func groupsOf(n nic) string {
	return strings.Join(n.SecurityGroups, ", ") + " on network " + n.NetworkID
}

func sameAddresses(wanted, now []fixedIP) bool {
	return len(wanted) == len(now) && !slices.ContainsFunc(wanted, func(ip fixedIP) bool { return !has(now, ip.Address) })
}

func has(ips []fixedIP, address string) bool {
	return slices.ContainsFunc(ips, func(ip fixedIP) bool { return ip.Address == address })
}

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
	if len(ports) == 0 {
		r.noFloatingIP(address, "the server has no network card")
		return nil
	}
	ip, err := r.spare(ctx, address, ports)
	if err != nil || ip == nil {
		return err
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

// spare returns the floating IP with an address if it is there and leads nowhere. One that
// leads to one of ports, where an earlier run has led it, needs nothing more.
func (r *run) spare(ctx context.Context, address string, ports []port) (*floatingIP, error) {
	ips, err := r.floatingIPs(ctx, "floating_ip_address", address)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		r.noFloatingIP(address, "it is not there any more")
		return nil, nil
	}
	leadsTo := ips[0].PortID
	switch {
	case leadsTo == nil || *leadsTo == "":
		return &ips[0], nil
	case !slices.ContainsFunc(ports, func(p port) bool { return p.PortID == *leadsTo }):
		r.noFloatingIP(address, "it is in use")
	}
	return nil, nil
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
