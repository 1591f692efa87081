// SPDX-License-Identifier: Apache-2.0

//go:build nokubernetes

package service

import (
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// newCluster returns nil, since this build does not support pods.
func newCluster(*config.Config) kubernetes.Cluster { return nil }
