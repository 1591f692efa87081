// SPDX-License-Identifier: Apache-2.0

package database

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
		f := newTrove(t)
		return &plugintest.World{
			Service:  f,
			Resource: shop,
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return New(poll.Config{PollInterval: time.Millisecond}, f.Wrapped(p.Transport))
			},
			Caller: requestcontext.From(openstacktest.Context(t)),
			Parameters: map[protection.Kind]protection.Parameters{
				protection.Protect: {"backup_name": []byte(`"nightly"`)},
				protection.Restore: {"restore_name": []byte(`"restored"`)},
			},
		}
	})
}
