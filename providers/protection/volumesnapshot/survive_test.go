// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

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
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		cloud := storage.New(t)
		cloud.AddVolume(disk.ID, disk.Name, []byte("data"))
		return &plugintest.World{
			Service:  cloud,
			Resource: disk,
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return New(poll.Config{PollInterval: time.Millisecond}, cloud.Wrapped(p.Transport))
			},
			Caller: requestcontext.From(openstacktest.Context(t)),
			Parameters: map[protection.Kind]protection.Parameters{
				protection.Protect: {"snapshot_name": []byte(`"snapshot"`)},
				protection.Restore: {"restore_name": []byte(`"restored"`)},
			},
		}
	})
}
