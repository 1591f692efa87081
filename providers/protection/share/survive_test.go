// SPDX-License-Identifier: Apache-2.0

package share

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		f := newManila(t)
		f.rules.Store(home.ID, []rule{{"ip", "10.0.0.0/24", "rw", "active"}, {"user", "alice", "ro", "active"}})
		return &plugintest.World{
			Service:  f,
			Resource: home,
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return New(poll.Config{PollInterval: time.Millisecond}, f.Wrapped(p.Transport))
			},
			Caller: requestcontext.From(openstacktest.Context(t)),
			Parameters: map[protection.Kind]protection.Parameters{
				protection.Protect: {"snapshot_name": []byte(`"nightly"`)},
				protection.Restore: {"restore_name": []byte(`"restored"`)},
			},
		}
	})
}
