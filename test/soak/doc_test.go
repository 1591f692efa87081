// SPDX-License-Identifier: Apache-2.0

// Package soak has no code of its own: its test lets servers in Go and clients in
// Go and Python work for long while connections, queues, processes and the broker
// fail at random, and then compares what all of them have recorded.
//
// SOAK_DURATION is how long the faults go on (20m), SOAK_SEED repeats a run's
// faults, SOAK_FOLDER keeps the histories and the output of all processes, and
// SOAK_RACE=1 builds the peers with the race detector.
package soak

import (
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
