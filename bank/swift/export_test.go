// SPDX-License-Identifier: Apache-2.0

package swift

import (
	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/nettest"
)

// Join lets a store reach Swift through a network in memory.
func Join(p bank.Plugin, network *nettest.Listener) {
	p.(*store).session.transport.DialContext = network.Dial
}
