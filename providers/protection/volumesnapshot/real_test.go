// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/openstack/openstacktest"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/volume/volumetest"
)

func TestReal(t *testing.T) {
	t.Parallel()
	volumetest.RoundTrip(t, volumetest.Trip{
		Plugin: func(p *openstacktest.RealProject) protection.Plugin {
			return New(poll.Config{PollInterval: 500 * time.Millisecond}, p.Factory)
		},
		Protect: []string{"snapshot_name", "s", "description", "d", "force", "True"},
		Restore: []string{"restore_name", "back", "restore_description", "rd"},
		Keep:    true, // Cinder deletes no volume that has snapshots
	})
}
