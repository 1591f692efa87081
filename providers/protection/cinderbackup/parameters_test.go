// SPDX-License-Identifier: Apache-2.0

package cinderbackup

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
	plugin := New(Config{Config: poll.Config{PollInterval: w.Interval}}, w.Factory)
	first := plugintest.New(t) // what an incremental backup adds to
	must(t, first.Run(w.Context, plugin, protection.Protect, first.Call(w.Volume)))
	plugintest.Parameters(t, original(), plugintest.Effects{
		protection.Protect: {
			"backup_name": {Value: "nightly"},
			"description": {Value: "of the source"},
			"container":   {Value: "box"},
			"backup_mode": {Value: "incremental", Shown: true},
			"force":       {Value: true}, // the volume is in use
		},
		protection.Restore: {
			"volume_id":           {Value: w.Target},
			"restore_name":        {Value: "back"},
			"restore_description": {Value: "again"},
		},
	}, w.Look(plugin, func(t testing.TB, _ *plugintest.Harness) map[string]any {
		backup := w.Newest(t, "backups")
		return map[string]any{
			"backup_name": backup["name"], "description": backup["description"], "container": backup["container"],
			"backup_mode": backup["is_incremental"], "force": true,
		}
	}))
	must(t, first.Run(w.Context, plugin, protection.Delete, first.Call(w.Volume)))
}

// original are the schemas without the parameters that have tests of their own.
func original() protection.Schemas {
	s := schemas
	s.Added = nil
	return s
}
