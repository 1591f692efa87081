// SPDX-License-Identifier: Apache-2.0

//go:build nokubernetes

package service

import (
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// newCluster returns nil: there are no pods in this program.
func newCluster(*config.Config) kubernetes.Cluster { return nil }
