// SPDX-License-Identifier: Apache-2.0

package image

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// What a backup does not keep of an image is known when it is made.
func TestWhatABackupLacksIsRemarked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		arrange  func(g *fakeGlance, image map[string]any)
		resource resource.Resource
		graph    *resource.Graph
		snapshot bool
		want     map[string]string
	}{
		"nothing": {func(_ *fakeGlance, image map[string]any) {
			image["min_disk"], image["tags"], image["protected"], image["visibility"], image["owner"] = 0, []any{}, false, "shared", "me"
			image["os_glance_import_task"], image["os_hash_algo"] = "x", nil
		}, tiny, nil, false, map[string]string{}},
		"properties": {func(_ *fakeGlance, image map[string]any) {
			image["min_disk"], image["tags"], image["visibility"], image["hw_disk_bus"] = 10, []any{"blue"}, "public", "scsi"
		}, tiny, nil, false, map[string]string{"image properties": `hw_disk_bus=scsi, min_disk=10, tags=["blue"], visibility=public -> `}},
		"disks of servers": {nil, ofServer(`{"server_id": "s1"}`), twins(), false, map[string]string{
			"disk of a server": "what server s1 has written to its disk -> the image that it was booted from; what server s2 has written to its disk -> the image that it was booted from"}},
		"a snapshot": {func(g *fakeGlance, _ map[string]any) { withServer(g, "ACTIVE") }, ofServer(`{"server_id": "s1"}`), nil, true, map[string]string{}},
		"a snapshot that stays": {func(g *fakeGlance, _ map[string]any) {
			withServer(g, "ACTIVE")
			g.Answer("DELETE "+openstacktest.Glance+"/images/snap", http.StatusForbidden, "no")
		}, ofServer(`{"server_id": "s1"}`), nil, true, map[string]string{"leftovers": " -> the temporary image of server s1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, h := newGlance(t), plugintest.New(t)
			image := g.add(tiny.ID, noise(10))
			if tc.arrange != nil {
				tc.arrange(g, image)
			}
			p := plugin(g, pieceSize)
			p.cfg.ServerSnapshot = tc.snapshot
			call := h.Call(tc.resource, "backup_name", "b")
			if tc.graph != nil {
				call.Graph = tc.graph
			}
			if err := h.Run(openstacktest.Context(t), p, protection.Protect, call); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, h.Remarks.Aspects()); diff != "" {
				t.Errorf("remarks (-want +got):\n%s", diff)
			}
		})
	}
}
