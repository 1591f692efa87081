// SPDX-License-Identifier: Apache-2.0

package plugintest_test

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/image"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// fakeGlance stands for a fake of the service under test, or for the real one.
type fakeGlance struct {
	*openstacktest.Cloud
	plugintest.Service
}

func newFakeGlance(testing.TB) *fakeGlance { return nil }

// A test of a plugin of OpenStack. Wrapped makes its clients' calls those of the
// process.
func ExampleSurvive() {
	_ = func(t *testing.T) { // func TestSurvives
		plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
			glance := newFakeGlance(t)
			return &plugintest.World{
				Service:  glance, // its Inventory names the images that are there
				Resource: resource.Resource{Type: resource.Image, ID: "9e1dc2dd-753b-48d9-8166-d94cca1de5a4"},
				Caller:   requestcontext.From(openstacktest.Context(t)),
				Plugin: func(p *plugintest.Process) protection.Plugin {
					return image.New(image.Config{ObjectSize: 65536, Config: poll.Config{PollInterval: time.Millisecond}}, glance.Wrapped(p.Transport))
				},
			}
		})
	}
	// Output:
}
