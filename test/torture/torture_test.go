// SPDX-License-Identifier: Apache-2.0

package torture

import "testing"

// TestTorture goes through the faults one after the other, all with the same node,
// server and client, which have to come through each as they were.
func TestTorture(t *testing.T) {
	w := newWorld(t)
	for _, fault := range []struct {
		name string
		test func(*world, *testing.T)
	}{
		{"connections cut", (*world).cut},
		{"connections reset", (*world).reset},
		{"connections half open", (*world).halfOpen},
		{"frames in segments of one byte", (*world).oneByte},
		{"delay of 200 ms", (*world).delay},
		{"a hundred cuts and resets", (*world).cycles},
		{"connections closed by the operator", (*world).closedByOperator},
		{"topic queue deleted", (*world).topicDeleted},
		{"server's queue deleted", (*world).serverQueueDeleted},
		{"fanout queue deleted", (*world).fanoutDeleted},
		{"reply queue deleted", (*world).replyDeleted},
		{"consumer cancelled under a running handler", (*world).consumerCancelled},
		{"reply queue missing while the client is away", (*world).replyMissing},
		{"declare refused with 404", (*world).declare404},
		{"declare refused with 405", (*world).declare405},
		{"declare refused with 406", (*world).declare406},
		{"dead hosts", (*world).deadHosts},
		{"a host that refuses", (*world).refusingHost},
		{"queues after that", (*world).sameQueues},
		{"memory alarm", (*world).memoryAlarm},
		{"credentials changed", (*world).credentialsChanged},
		{"credentials changed before the first publishing", (*world).firstPublishing},
		{"application stopped and started", (*world).applicationRestarted},
		{"broker stopped and started", (*world).brokerRestarted},
		{"broker killed and started", (*world).brokerKilled},
		{"queues in the end", (*world).sameQueues},
	} {
		t.Run(fault.name, func(t *testing.T) { fault.test(w, t) })
	}
}
