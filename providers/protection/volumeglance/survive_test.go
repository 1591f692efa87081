// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/openstack/openstacktest/storage"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestSurvives(t *testing.T) {
	t.Parallel()
	for name, snapshot := range map[string]bool{"from a snapshot": true, "of the volume": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := plugintest.Options{}
			if !snapshot {
				options.Kinds = []protection.Kind{protection.Protect} // the others know no difference
			}
			plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
				cloud := storage.New(t)
				cloud.AddVolume(disk.ID, disk.Name, noise(pieceSize+5))
				return &plugintest.World{
					Service:  cloud,
					Resource: disk,
					Plugin: func(p *plugintest.Process) protection.Plugin {
						return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, ObjectSize: pieceSize, FromSnapshot: snapshot}, cloud.Wrapped(p.Transport))
					},
					Caller: requestcontext.From(openstacktest.Context(t)),
					Parameters: map[protection.Kind]protection.Parameters{
						protection.Restore: {"restore_name": []byte(`"restored"`)},
					},
				}
			})
		})
	}
}
