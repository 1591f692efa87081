// SPDX-License-Identifier: Apache-2.0

package volumeglance

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

// The backup itself is in the bank. What is at Cinder for a while carries its name
// and description.
func parameters(t *testing.T, w *volumetest.World) {
	witness := &plugintest.Witness{}
	plugin := New(Config{Config: poll.Config{PollInterval: w.Interval}, FromSnapshot: true, ObjectSize: 64 * pieceSize}, w.Wrapped(witness.Transport))
	plugintest.Parameters(t, original(), plugintest.Effects{
		protection.Protect: {
			"backup_name": {Value: "nightly"},
			"description": {Value: "of the source"},
		},
		protection.Restore: {"restore_name": {Value: "back"}},
	}, w.Look(plugin, func(testing.TB, *plugintest.Harness) map[string]any {
		snapshot := witness.Seen("snapshots")
		metadata, _ := snapshot["metadata"].(map[string]any)
		return map[string]any{"backup_name": metadata["backup_name"], "description": snapshot["description"]}
	}))
}

// original are the schemas without the parameters that have tests of their own.
func original() protection.Schemas {
	s := schemas
	s.Added = nil
	return s
}
