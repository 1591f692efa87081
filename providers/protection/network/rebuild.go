// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// atATime is how many things of a kind are made at the same time.
const atATime = 4

// rebuild is one run of a restore.
type rebuild struct {
	*service
	call  *protection.Call
	about saved
	state restoreState
	// found is what the project had before this run, by collection, and there is
	// what an earlier run has made of that, by original id.
	found map[string][]item
	there map[string]item

	mu    sync.Mutex
	made  map[string]map[string]string // new ids by collection and original id
	kept  map[string]string
	steps int // to go through
	done  int
}

// order is something to be made.
type order struct {
	kind     kind
	original string
	name     string // for texts
	body     map[string]any
	// concessions change the body, one after the other, after it was refused: they drop
	// attributes that the caller may lack the right to, or that are taken. The caller
	// compares the result with its request and remarks the differences, for an earlier
	// run may have conceded.
	concessions []func(body map[string]any)
}

// without returns a concession that takes attributes out.
func without(names ...string) func(map[string]any) {
	return func(body map[string]any) {
		for _, name := range names {
			delete(body, name)
		}
	}
}

// make makes something unless an earlier run has, and waits until it is made.
func (r *rebuild) make(ctx context.Context, o order) (*item, error) {
	i, err := r.ask(ctx, o)
	if err == nil {
		err = r.await(ctx, o.kind, i)
	}
	if hook.Unfit(err) {
		return nil, &hook.Failure{Text: fmt.Sprintf("Create %s failed: %s %q is %s", o.kind.noun, o.kind.noun, o.name, hook.StatusOf(err)), Err: err}
	}
	if err != nil {
		return nil, err
	}
	r.note(o.kind, o.original, i.ID)
	return i, nil
}

func (r *rebuild) ask(ctx context.Context, o order) (*item, error) {
	if i, there := r.there[o.original]; there {
		return &i, nil
	}
	o.body["description"] = r.mark() + o.original
	refusal := ""
	i, err := r.post(ctx, o.kind, o.body)
	for _, concede := range o.concessions {
		if !refused(err) {
			break
		}
		before := len(o.body)
		if concede(o.body); len(o.body) == before {
			continue
		}
		refusal = hook.Reason(err)
		i, err = r.post(ctx, o.kind, o.body)
	}
	if err == nil {
		i.refusal = refusal
	}
	return i, err
}

// refused reports whether an answer says that nothing was made because the caller lacks a
// right, or because something is in use, gone, or changed.
func refused(err error) bool {
	for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict} {
		if gophercloud.ResponseCodeIs(err, code) {
			return true
		}
	}
	return false
}

// note keeps a new id.
func (r *rebuild) note(k kind, original, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made[k.collection] == nil {
		r.made[k.collection] = map[string]string{}
	}
	r.made[k.collection][original] = id
}

// new returns the new id of a thing.
func (r *rebuild) new(k kind, original string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.made[k.collection][original]
	return id, ok
}

// count sets how many steps there are: to make and to finish each thing, and to set
// the rules of groups.
func (r *rebuild) count() {
	r.steps = 2*(len(r.about.Networks)+len(r.about.Subnets)+len(r.about.Routers)+len(r.about.Ports)) + 3*len(r.about.Groups)
}

// step reports one step more.
func (r *rebuild) step() {
	r.mu.Lock()
	r.done++
	percent := r.done * 100 / max(r.steps, 1)
	r.mu.Unlock()
	r.call.Report(percent)
}

// each does something for each thing of a map, a few at the same time.
func each[T any](ctx context.Context, r *rebuild, things map[string]T, do func(ctx context.Context, id string, t T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for _, id := range slices.Sorted(maps.Keys(things)) {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			defer r.step()
			return do(ctx, id, things[id])
		})
	}
	return group.Wait()
}

// put adds an attribute to a body if it is known.
func put[T any](body map[string]any, name string, value *T) {
	if value != nil {
		body[name] = *value
	}
}

// putJSON adds an attribute to a body as it was saved.
func putJSON(body map[string]any, name string, value []byte) {
	if len(value) > 0 && string(value) != "null" {
		body[name] = json.RawMessage(value)
	}
}

// rule is a rule of a security group. Null means any.
type rule struct {
	ID          string  `json:"id,omitempty"`
	GroupID     string  `json:"security_group_id"`
	Direction   string  `json:"direction"`
	EtherType   string  `json:"ethertype"`
	Protocol    *string `json:"protocol"`
	PortMin     *int    `json:"port_range_min"`
	PortMax     *int    `json:"port_range_max"`
	Prefix      *string `json:"remote_ip_prefix"`
	RemoteGroup *string `json:"remote_group_id"`
	Addresses   *string `json:"remote_address_group_id,omitempty"`
	Description string  `json:"description"`
}

// says is what a rule says, to compare.
func (r rule) says() string {
	return fmt.Sprint(r.Direction, " ", r.EtherType, " ", value(r.Protocol), " ", value(r.PortMin), " ", value(r.PortMax), " ",
		value(r.Prefix), " ", value(r.RemoteGroup), " ", value(r.Addresses))
}

func value[T any](p *T) string {
	if p == nil {
		return "any"
	}
	return fmt.Sprint(*p)
}

// buildGroups makes the security groups, and then, since they refer to each other,
// their rules. The default group is there in every project and is left as it is.
func (r *rebuild) buildGroups(ctx context.Context) error {
	r.kept = map[string]string{}
	own := map[string]secure{}
	for id, g := range r.about.Groups {
		if g.Name != defaultGroup {
			own[id] = g
			continue
		}
		found, err := list[item](ctx, r.service, groups, r.project, "name", defaultGroup)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			r.kept[id] = found[0].ID
		}
	}
	err := each(ctx, r, own, func(ctx context.Context, id string, g secure) error {
		body := map[string]any{"name": g.Name}
		if g.Stateful != nil && !*g.Stateful {
			body["stateful"] = false
		}
		_, err := r.make(ctx, order{kind: groups, original: id, name: g.Name, body: body})
		return err
	})
	if err != nil {
		return err
	}
	return each(ctx, r, own, func(ctx context.Context, id string, g secure) error {
		made, _ := r.new(groups, id)
		return r.setRules(ctx, made, g.Rules)
	})
}

// setRules gives a group the rules that it is to have and no others: Neutron gives
// a new one some.
func (r *rebuild) setRules(ctx context.Context, id string, wanted []rule) error {
	now, err := openstack.Show[item](ctx, r.ServiceClient, groups.collection, id, groups.member)
	if err != nil {
		return err
	}
	missing := map[string]rule{}
	for _, w := range wanted {
		w.ID, w.GroupID = "", id
		if w.RemoteGroup != nil {
			remote := r.group(*w.RemoteGroup)
			w.RemoteGroup = &remote
		}
		missing[w.says()] = w
	}
	for _, has := range now.Rules {
		if _, wanted := missing[has.says()]; wanted {
			delete(missing, has.says())
			continue
		}
		if err := r.remove(ctx, "security-group-rules", has.ID); err != nil {
			return fmt.Errorf("delete a rule of security group %s: %w", id, err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rules := make([]rule, 0, len(missing))
	for _, w := range missing {
		rules = append(rules, w)
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.says(), b.says()) })
	if _, err := r.Post(ctx, r.ServiceURL("security-group-rules"), map[string]any{"security_group_rules": rules}, nil, nil); err != nil {
		return fmt.Errorf("create rules of security group %s: %w", id, err)
	}
	return nil
}

// group returns the id that stands for a security group now: one that the backup
// does not have, such as another project's, stands for itself.
func (r *rebuild) group(original string) string {
	if id, ok := r.new(groups, original); ok {
		return id
	}
	if id, ok := r.kept[original]; ok {
		return id
	}
	return original
}

func (r *rebuild) buildNetworks(ctx context.Context) error {
	return each(ctx, r, r.about.Networks, func(ctx context.Context, id string, n network) error {
		if n.External {
			return nil
		}
		o := order{kind: networks, original: id, name: n.Name, body: map[string]any{"name": r.networkName(n)}}
		put(o.body, "admin_state_up", n.AdminUp)
		put(o.body, "port_security_enabled", n.PortSecurity)
		if n.Shared {
			o.body["shared"] = true
			o.concessions = append(o.concessions, without("shared"))
		}
		if n.MTU > 0 { // more than a network of the cloud can have, or without the extension any, is refused
			o.body["mtu"] = n.MTU
			o.concessions = append(o.concessions, without("mtu"))
		}
		made, err := r.make(ctx, o)
		if err == nil && n.MTU > 0 && made.MTU != n.MTU {
			r.call.Remark(remark.Remark{Aspect: "MTU of a network", Was: fmt.Sprintf("%d of network %q", n.MTU, n.Name), Is: fmt.Sprint(made.MTU), Why: made.why()})
		}
		if err == nil && n.Shared && !made.Shared {
			r.call.Remark(remark.Remark{Aspect: "sharing of a network", Was: fmt.Sprintf("network %q was shared with all projects", n.Name),
				Is: "not shared", Why: made.why()})
		}
		return err
	})
}

// networkName is the name that the user wants: as it is for a network that is the
// only one, else in front of the network's own. Without a wish all keep theirs.
func (r *rebuild) networkName(n network) string {
	wish, _ := r.call.Parameters.String("restore_name")
	if wish == "" {
		return n.Name
	}
	own := 0
	for _, other := range r.about.Networks {
		if !other.External {
			own++
		}
	}
	if own == 1 {
		return wish
	}
	return wish + "-" + n.Name
}

// buildSubnets makes the subnets of the networks that are restored. Their DHCP
// stays off till the end where that can be: its server takes the first address that
// it finds free, and a port is yet to get that.
func (r *rebuild) buildSubnets(ctx context.Context) error {
	return each(ctx, r, r.about.Subnets, func(ctx context.Context, id string, s subnet) error {
		networkID, ours := r.new(networks, s.NetworkID)
		if !ours {
			return nil
		}
		body := map[string]any{
			"network_id": networkID, "name": s.Name, "cidr": s.CIDR, "ip_version": s.Version, "gateway_ip": nil,
			"enable_dhcp": s.DHCP && !s.late(),
		}
		if s.Gateway != nil && *s.Gateway != "" {
			body["gateway_ip"] = *s.Gateway
		}
		put(body, "ipv6_address_mode", s.AddressMode)
		put(body, "ipv6_ra_mode", s.RAMode)
		putJSON(body, "allocation_pools", s.Pools)
		putJSON(body, "dns_nameservers", s.NameServers)
		putJSON(body, "host_routes", s.HostRoutes)
		_, err := r.make(ctx, order{kind: subnets, original: id, name: s.Name, body: body})
		return err
	})
}

// late reports whether DHCP can be switched on later. With modes of IPv6 it cannot.
func (s subnet) late() bool { return s.AddressMode == nil && s.RAMode == nil }

// buildPorts makes the ports that users may make. They belong to no device: the old device
// may still exist, and a restored server takes the port that replaces its own.
func (r *rebuild) buildPorts(ctx context.Context) error {
	return each(ctx, r, r.about.Ports, func(ctx context.Context, id string, old port) error {
		if !old.ordinary() {
			return nil
		}
		networkID, ours := r.new(networks, old.NetworkID)
		if !ours {
			return r.buildForeign(ctx, id, old)
		}
		made, err := r.make(ctx, r.portOrder(id, old, networkID))
		if err == nil {
			r.compare(id, old, made)
		}
		return err
	})
}

// buildForeign makes a port on a network that is not restored, since it is not the
// project's own. A server gets its port there when it is restored.
func (r *rebuild) buildForeign(ctx context.Context, id string, old port) error {
	if strings.HasPrefix(old.DeviceOwner, computeOwner) {
		return nil
	}
	made, err := r.make(ctx, r.portOrder(id, old, old.NetworkID))
	switch {
	case refused(err):
		r.call.Remark(remark.Remark{Aspect: "port", Was: fmt.Sprintf("port %s on network %s, which is not the project's own", id, old.NetworkID), Why: hook.Reason(err)})
		return nil
	case err == nil:
		r.compare(id, old, made)
	}
	return err
}

// compare remarks what a port has that is not what the old one had.
func (r *rebuild) compare(id string, old port, made *item) {
	if !sameAddresses(r.addresses(old), made.FixedIPs) {
		r.call.Remark(remark.Remark{Aspect: "addresses of a port", Was: addressesOf(id, old.FixedIPs), Is: addressesOf(made.ID, made.FixedIPs), Why: made.why()})
	}
	if old.MAC != "" && !strings.EqualFold(old.MAC, made.MAC) {
		r.call.Remark(remark.Remark{Aspect: "MAC address of a port", Was: old.MAC + " of port " + id, Is: made.MAC + " of port " + made.ID, Why: made.why()})
	}
}

func addressesOf(id string, ips []fixedIP) string {
	var all []string
	for _, ip := range ips {
		all = append(all, ip.Address)
	}
	return strings.Join(all, ", ") + " of port " + id
}

func (r *rebuild) portOrder(id string, old port, networkID string) order {
	body := map[string]any{"name": old.Name, "network_id": networkID, "mac_address": old.MAC, "fixed_ips": r.addresses(old)}
	put(body, "admin_state_up", old.AdminUp)
	put(body, "port_security_enabled", old.PortSecurity)
	if old.Groups != nil {
		mapped := make([]string, len(old.Groups))
		for i, group := range old.Groups {
			mapped[i] = r.group(group)
		}
		body["security_groups"] = mapped
	}
	if string(old.Pairs) != "[]" {
		putJSON(body, "allowed_address_pairs", old.Pairs)
	}
	if string(old.DHCPOptions) != "[]" {
		putJSON(body, "extra_dhcp_opts", old.DHCPOptions)
	}
	if old.VNIC != "" && old.VNIC != "normal" {
		body["binding:vnic_type"] = old.VNIC
	}
	return order{kind: ports, original: id, name: old.Name, body: body, concessions: []func(map[string]any){without("mac_address"), without("fixed_ips")}}
}

// addresses returns the addresses that a port is to have. Neutron chooses addresses of
// automatic subnets itself. A subnet that is not restored keeps its id.
func (r *rebuild) addresses(old port) []fixedIP {
	ips := make([]fixedIP, 0, len(old.FixedIPs))
	for _, ip := range old.FixedIPs {
		if id, ok := r.new(subnets, ip.SubnetID); ok {
			if r.about.Subnets[ip.SubnetID].automatic() {
				ip.Address = ""
			}
			ip.SubnetID = id
		}
		ips = append(ips, ip)
	}
	return ips
}

func sameAddresses(wanted, has []fixedIP) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(has, func(ip fixedIP) bool {
			return w.SubnetID == ip.SubnetID && (w.Address == "" || w.Address == ip.Address)
		}) {
			return false
		}
	}
	return true
}

// buildRouters makes the routers, with a way to the outside if the caller may have
// that: the same external network, at another address, since the router that had the
// old one may be there still.
func (r *rebuild) buildRouters(ctx context.Context) error {
	return each(ctx, r, r.about.Routers, func(ctx context.Context, id string, old router) error {
		o := order{kind: routers, original: id, name: old.Name, body: map[string]any{"name": old.Name}}
		put(o.body, "admin_state_up", old.AdminUp)
		leads := old.leads()
		if leads {
			if translates := old.Gateway.SNAT; translates == nil || *translates {
				o.body["external_gateway_info"] = gateway{NetworkID: old.Gateway.NetworkID}
			} else {
				o.body["external_gateway_info"] = *old.Gateway
			}
			o.concessions = append(o.concessions, without("external_gateway_info"))
		}
		made, err := r.make(ctx, o)
		if err == nil && leads && (made.Gateway == nil || made.Gateway.NetworkID == "") {
			r.noGateway(old, made.why())
		}
		return err
	})
}

func (r *rebuild) noGateway(old router, why string) {
	r.call.Remark(remark.Remark{Aspect: "gateway of a router", Was: fmt.Sprintf("external network %s of router %q", old.Gateway.NetworkID, old.Name), Why: why})
}

// leads reports whether a router had a gateway.
func (r router) leads() bool { return r.Gateway != nil && r.Gateway.NetworkID != "" }

// buildInterfaces connects the routers with the subnets, one after the other.
func (r *rebuild) buildInterfaces(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(r.about.Ports)) {
		old := r.about.Ports[id]
		if !isInterface(old.DeviceOwner) || len(old.FixedIPs) == 0 {
			continue
		}
		routerID, routed := r.new(routers, old.DeviceID)
		_, ours := r.new(networks, old.NetworkID)
		if !routed || !ours {
			r.call.Remark(remark.Remark{Aspect: "interface of a router", Was: fmt.Sprintf("network %s of router %s", old.NetworkID, old.DeviceID),
				Why: "the network or the router is not the project's own"})
			continue
		}
		if err := r.connect(ctx, id, old, routerID); err != nil {
			return err
		}
		r.step()
	}
	return nil
}

// connect makes an interface. At the gateway's address Neutron makes the port; at
// others, and with several, the port is made first.
func (r *rebuild) connect(ctx context.Context, id string, old port, routerID string) error {
	subnetID, _ := r.new(subnets, old.FixedIPs[0].SubnetID)
	for _, i := range r.found[ports.collection] {
		if i.DeviceID == routerID && isInterface(i.DeviceOwner) && slices.ContainsFunc(i.FixedIPs, func(ip fixedIP) bool { return ip.SubnetID == subnetID }) {
			r.note(ports, id, i.ID)
			return nil
		}
	}
	at := map[string]any{"subnet_id": subnetID}
	gateway := r.about.Subnets[old.FixedIPs[0].SubnetID].Gateway
	if len(old.FixedIPs) > 1 || gateway == nil || *gateway != old.FixedIPs[0].Address {
		made, err := r.make(ctx, order{
			kind: ports, original: id, name: old.Name, body: r.interfaceBody(old), concessions: []func(map[string]any){without("mac_address")},
		})
		if err != nil {
			return err
		}
		r.compare(id, old, made)
		at = map[string]any{"port_id": made.ID}
	}
	var answer struct {
		PortID string `json:"port_id"`
	}
	_, err := r.Put(ctx, r.ServiceURL(routers.collection, url.PathEscape(routerID), "add_router_interface"), at, &answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK},
	})
	if err != nil {
		return fmt.Errorf("connect router %s: %w", routerID, err)
	}
	r.note(ports, id, answer.PortID)
	return nil
}

// interfaceBody returns the body of a port that becomes an interface of a router. Addresses in automatic
// subnets follow from its MAC address.
func (r *rebuild) interfaceBody(old port) map[string]any {
	networkID, _ := r.new(networks, old.NetworkID)
	return map[string]any{
		"name": old.Name, "network_id": networkID, "mac_address": old.MAC, "fixed_ips": r.addresses(old), "security_groups": []string{},
	}
}
