// SPDX-License-Identifier: Apache-2.0

// Package cluster has no code of its own: its tests take nodes of a RabbitMQ
// cluster down and cut them off while peers in Go and Python talk over it.
//
// tools/rabbitmq/up -n 3 makes such a cluster and says where it is, in RABBIT_URL,
// KARBOR_TEST_CLUSTER and KARBOR_TEST_CLUSTER_NETWORK.
package cluster

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
