// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Jobs are gone when the operation has ended; a witness has seen them.
func TestParameters(t *testing.T) {
	t.Parallel()
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {"backup_name": {Value: "my backup", Shown: "my_backup"}, "description": {Value: "of the disk"}},
		protection.Restore: {"restore_name": {Value: "back"}},
	}, func(t testing.TB, kind protection.Kind, parameters protection.Parameters) (map[string]any, error) {
		f, h, ctx, witness := newFreezer(t, true), plugintest.New(t), openstacktest.Context(t), &plugintest.Witness{}
		p := New(Config{Config: poll.Config{PollInterval: time.Millisecond}, Storage: swiftStorage}, f.Wrapped(witness.Transport))
		if kind == protection.Restore {
			must(t, h.Run(ctx, p, protection.Protect, h.Call(disk)))
			h.State = &plugintest.State{}
		}
		c := h.Call(disk)
		c.Parameters = parameters
		if err := h.Run(ctx, p, kind, c); err != nil {
			return nil, err
		}
		job := witness.Seen("jobs")
		description, _, _ := strings.Cut(fmt.Sprint(job["description"]), " [")
		if kind == protection.Restore {
			return map[string]any{"restore_name": description}, nil
		}
		action := job["job_actions"].([]any)[0].(map[string]any)["freezer_action"].(map[string]any)
		return map[string]any{"backup_name": action["backup_name"], "description": description}, nil
	})
}
