// SPDX-License-Identifier: Apache-2.0

package cinderbackup

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
			plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
				return world(t, snapshot, protection.Parameters{"restore_name": []byte(`"restored"`)})
			})
		})
	}
}

// The backup is restored into a volume that is there.
func TestSurvivesIntoAVolume(t *testing.T) {
	t.Parallel()
	options := plugintest.Options{Kinds: []protection.Kind{protection.Restore}}
	const target = "0e0f0c0a-0000-4000-8000-00000000000b"
	plugintest.Survive(t, options, func(t testing.TB) *plugintest.World {
		w := world(t, false, protection.Parameters{"volume_id": []byte(`"` + target + `"`), "restore_name": []byte(`"restored"`)})
		// The same name and data before and after, since what was overwritten
		// does not come back.
		w.Service.(*storage.Cloud).AddVolume(target, "restored", []byte("data"))
		return w
	})
}

func world(t testing.TB, snapshot bool, restore protection.Parameters) *plugintest.World {
	cloud := storage.New(t)
	cloud.AddVolume(disk.ID, disk.Name, []byte("data"))
	return &plugintest.World{
		Service:  cloud,
		Resource: disk,
		Plugin: func(p *plugintest.Process) protection.Plugin {
			return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, FromSnapshot: snapshot}, cloud.Wrapped(p.Transport))
		},
		Caller:     requestcontext.From(openstacktest.Context(t)),
		Parameters: map[protection.Kind]protection.Parameters{protection.Restore: restore},
	}
}
