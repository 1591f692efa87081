// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"slices"
	"strings"
	"time"
)

// stuck is how many rounds a resource may withstand its removal before the
// administrator declares it broken, which makes it removable. With a status such
// as error_deleting nobody else can remove it.
const stuck = 100

// purge removes everything.
func (p *RealProject) purge() {
	for _, name := range p.containers() {
		p.RemoveContainer(name)
	}
	if p.RemoveAll() {
		p.discardDefaultGroup()
	}
}

// RemoveAll removes what the project holds in Nova, Neutron, Cinder, Manila and
// Glance, but for some kinds, in as many rounds as it takes: what others need can
// be removed only after these, and services do it in their own time. It tells
// whether that went well; else the test has failed.
func (p *RealProject) RemoveAll(but ...Kind) bool {
	p.t.Helper()
	end := time.Now().Add(patience)
	for round := 1; ; round++ {
		left, err := p.held()
		if err != nil {
			p.t.Errorf("list what is left of project %s: %v", p.ID(), err)
			return false
		}
		left = slices.DeleteFunc(left, func(h held) bool {
			return slices.ContainsFunc(but, func(k Kind) bool { return k.name == h.kind.name })
		})
		if len(left) == 0 {
			return true
		}
		if time.Now().After(end) {
			p.t.Errorf("project %s still holds %v", p.ID(), left)
			return false
		}
		for _, h := range left {
			p.discard(h, round)
		}
		time.Sleep(pause)
	}
}

// discard does what it can do now to have a resource removed. Refusals are normal:
// the next round tries again.
func (p *RealProject) discard(h held, round int) {
	at := h.kind.path + "/" + h.ID
	if h.kind.calm != nil && round == 1 {
		_ = p.call(p.ctx, h.kind, "PUT", at, wrapped(h.kind, h.kind.calm), nil)
	}
	if h.kind.reset != "" && (round%stuck == 0 || strings.HasPrefix(h.Status, "error_")) {
		key := "status"
		if h.kind.name == Server.name {
			key = "state"
		}
		_ = p.call(p.admin, h.kind, "POST", at+"/action", map[string]any{h.kind.reset: map[string]any{key: "error"}}, nil)
	}
	switch {
	case strings.HasPrefix(strings.ToLower(h.Status), "deleting"):
		return // asked already
	case h.kind.name == Port.name && h.DeviceOwner == "network:router_interface":
		_ = p.call(p.ctx, Router, "PUT", "routers/"+h.DeviceID+"/remove_router_interface", map[string]any{"port_id": h.ID}, nil)
	default:
		_ = p.remove(p.ctx, h.kind, h.ID)
	}
}

// Rescue does what an administrator does after the death of a daemon: what it was
// at work with, and hangs for ever, is declared broken, or fit for use if it is the
// one to keep.
func (p *RealProject) Rescue(keep string) {
	p.t.Helper()
	all, err := p.held()
	must(p.t, err)
	for _, h := range all {
		if h.kind.reset == "" || !strings.Contains(h.Status, "ing") {
			continue
		}
		key, status := "status", "error"
		if h.kind.name == Server.name {
			key = "state"
		}
		if h.ID == keep {
			status = h.kind.ready
		}
		must(p.t, p.call(p.admin, h.kind, "POST", h.kind.path+"/"+h.ID+"/action", map[string]any{h.kind.reset: map[string]any{key: status}}, nil))
	}
}

// discardDefaultGroup removes the security group that Neutron made by itself,
// which only an administrator may.
func (p *RealProject) discardDefaultGroup() {
	client, err := SecurityGroup.service.client(p.Factory, p.admin)
	if err != nil {
		return // no Neutron in the catalogue
	}
	groups, err := p.listKind(p.admin, SecurityGroup)
	if err != nil {
		p.t.Errorf("list security groups: %v", err)
		return
	}
	for _, g := range groups {
		if _, err := client.Delete(p.admin, client.ServiceURL(SecurityGroup.path, g.ID), nil); err != nil {
			p.t.Errorf("remove the default security group: %v", err)
		}
	}
}
