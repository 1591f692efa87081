// SPDX-License-Identifier: Apache-2.0

package image

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

// What a restore is going to make is foretold; a backup without its metadata cannot be restored,
// which is foretold too.
func TestWhatIsGoneIsForetold(t *testing.T) {
	t.Parallel()
	g, h, ctx := newGlance(t), plugintest.New(t), openstacktest.Context(t)
	g.add(tiny.ID, noise(10))
	p := plugin(g, pieceSize)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.Run(ctx, p, protection.Protect, h.Call(tiny, "backup_name", "b")))
	operation, err := p.Operation(protection.Restore, tiny)
	must(err)
	c := h.Call(tiny, "restore_name", "back")
	makes, err := operation.Plan(ctx, c)
	must(err)
	if makes["name"] != "back" || makes["disk_format"] == "" {
		t.Errorf("planned are %v", makes)
	}
	must(c.Section.Delete(ctx, "metadata"))
	if _, err := operation.Plan(ctx, c); err == nil {
		t.Error("nothing is foretold of a backup without metadata")
	}
}
