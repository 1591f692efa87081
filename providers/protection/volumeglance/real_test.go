// SPDX-License-Identifier: Apache-2.0

package volumeglance

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
	for name, snapshot := range map[string]bool{"from a snapshot": true, "of the volume": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			volumetest.RoundTrip(t, volumetest.Trip{
				Plugin: func(p *openstacktest.RealProject) protection.Plugin {
					return New(Config{Config: poll.Config{PollInterval: 500 * time.Millisecond}, FromSnapshot: snapshot, ObjectSize: 64 * pieceSize}, p.Factory)
				},
				Protect: []string{"backup_name", "b", "description", "d"},
				Restore: []string{"restore_name", "back"},
			})
		})
	}
}
