// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"testing"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/volume/volumetest"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	parameters(t, volumetest.NewWorld(t))
}

func TestRealParameters(t *testing.T) {
	t.Parallel()
	parameters(t, volumetest.NewRealWorld(t))
}

func parameters(t *testing.T, w *volumetest.World) {
	plugintest.Parameters(t, schemas, plugintest.Effects{
		protection.Protect: {
			"snapshot_name": {Value: "nightly"},
			"description":   {Value: "of the source"},
			"force":         {Value: true}, // the volume is in use
		},
		protection.Restore: {
			"restore_name":        {Value: "back"},
			"restore_description": {Value: "again"},
		},
	}, w.Look(New(poll.Config{PollInterval: w.Interval}, w.Factory), func(t testing.TB, _ *plugintest.Harness) map[string]any {
		snapshot := w.Newest(t, "snapshots")
		return map[string]any{"snapshot_name": snapshot["name"], "description": snapshot["description"], "force": true}
	}))
}
