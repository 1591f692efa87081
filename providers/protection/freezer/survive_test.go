// SPDX-License-Identifier: Apache-2.0

package freezer

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
		f := newFreezer(t, true)
		return &plugintest.World{
			Service:  f,
			Resource: disk,
			Plugin: func(p *plugintest.Process) protection.Plugin {
				return New(Config{Config: poll.Config{PollInterval: time.Millisecond}, Storage: swiftStorage}, f.Wrapped(p.Transport))
			},
			Caller: requestcontext.From(openstacktest.Context(t)),
		}
	})
}
