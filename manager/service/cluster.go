// SPDX-License-Identifier: Apache-2.0

//go:build !nokubernetes

package service

import (
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/providers/protectable/pod"
)

// newCluster returns the client of the cluster in karbor.conf. Only this file links Kubernetes'
// libraries.
func newCluster(cfg *config.Config) kubernetes.Cluster {
	return kubernetes.Within(client.New(kubernetes.FromConfig(cfg)), pod.Namespaces(cfg)...)
}
