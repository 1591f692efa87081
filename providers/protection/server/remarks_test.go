// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/neutron"
	"github.com/karbor-project/karbor/providers/protection"
)

// What of a server no restore brings back is known when it is protected.
func TestWhatNoRestoreBringsBackIsRemarked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange func(e *estate)
		want    map[string]string
	}{
		"nothing":           {func(*estate) {}, map[string]string{}},
		"a config drive":    {func(e *estate) { e.ConfigDrive = true }, map[string]string{"config drive": "attached -> "}},
		"an ephemeral disk": {func(e *estate) { e.Ephemeral = 20 }, map[string]string{"ephemeral disk": "20 GiB -> empty"}},
		"a lock":            {func(e *estate) { e.old.Locked = true }, map[string]string{"lock": "locked -> not locked"}},
		"no flavor":         {func(e *estate) { e.Flavors = nil }, map[string]string{"flavor": "1 -> "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, imageID)
			tc.arrange(e)
			f := protected(t, e)
			if diff := cmp.Diff(tc.want, f.Remarks.Aspects()); diff != "" {
				t.Errorf("remarks (-want +got):\n%s", diff)
			}
		})
	}
}

// What is refused when a server is restored is left, and remarked.
func TestWhatIsRefusedIsRemarked(t *testing.T) {
	t.Parallel()
	t.Run("by Neutron", func(t *testing.T) {
		t.Parallel()
		e := newEstate(t, imageID)
		inner := e.Add(neutron.Groups, thing{"name": "inner"})
		e.backNic["security_groups"] = array{inner.ID()}
		web := e.frontNic["security_groups"].(array)[0].(string)
		f := protected(t, e).lose()
		f.Delete(f.frontNic)
		f.Delete(f.backNic)
		f.Drop(neutron.FloatingIPs, f.ip.ID())
		ip := f.Add(neutron.FloatingIPs, thing{"floating_network_id": f.ip["floating_network_id"], "floating_ip_address": "203.0.113.9"})
		f.Service.Refuse("PUT ", http.StatusForbidden, "PolicyNotAuthorized", "no")
		must(t, f.do(protection.Restore))
		on := func(what string, network thing) string { return what + " on network " + network.ID() }
		want := map[string]string{
			"addresses": on("10.2.0.20, 10.2.0.21", f.back) + " -> " + on("10.2.0.20", f.back),
			"security groups of a card": on(web, f.front) + " -> " + on(inner.ID()+", "+web, f.front) + "; " +
				on(inner.ID(), f.back) + " -> " + on(inner.ID()+", "+web, f.back),
			"floating IP": "203.0.113.9 -> ",
		}
		if diff := cmp.Diff(want, f.Remarks.Aspects()); diff != "" {
			t.Errorf("remarks (-want +got):\n%s", diff)
		}
		if id := ip["port_id"]; id != nil && id != "" {
			t.Errorf("the floating IP leads to %v", id)
		}
	})
	t.Run("by Nova", func(t *testing.T) {
		t.Parallel()
		e := newEstate(t, imageID)
		e.data.Device = "/dev/vda" // where the root is
		f := protected(t, e).lose()
		f.Delete(f.frontNic)
		f.Delete(f.backNic)
		must(t, f.do(protection.Restore))
		want := map[string]string{"device of a volume": "/dev/vda -> Nova's choice, of volume " + f.restored[f.data.ID]}
		if diff := cmp.Diff(want, f.Remarks.Aspects()); diff != "" {
			t.Errorf("remarks (-want +got):\n%s", diff)
		}
	})
}

// What Nova shows from later microversions on comes back, unless Nova refuses it.
func TestDescriptionAndTags(t *testing.T) {
	t.Parallel()
	for newest, want := range map[int]map[string]string{0: {}, 20: {"tags of a server": "blue, red -> ", "description of a server": "of all -> "}} {
		e := newEstate(t, imageID)
		e.old.Description, e.old.Tags = "of all", []string{"blue", "red"}
		f := protected(t, e).lose()
		f.Delete(f.frontNic)
		f.Delete(f.backNic)
		e.Newest = newest
		must(t, f.do(protection.Restore))
		s, _ := f.made()
		if diff := cmp.Diff(want, f.Remarks.Aspects()); diff != "" {
			t.Errorf("remarks (-want +got):\n%s", diff)
		}
		if newest == 0 && (s.Description != "of all" || len(s.Tags) != 2) {
			t.Errorf("restored %+v", s)
		}
	}
}
