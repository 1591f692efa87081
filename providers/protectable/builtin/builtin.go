// SPDX-License-Identifier: Apache-2.0

// Package builtin lists the protectable plugins that come with the service.
package builtin

import (
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protectable/database"
	"github.com/karbor-project/karbor/providers/protectable/image"
	"github.com/karbor-project/karbor/providers/protectable/network"
	"github.com/karbor-project/karbor/providers/protectable/pod"
	"github.com/karbor-project/karbor/providers/protectable/project"
	"github.com/karbor-project/karbor/providers/protectable/server"
	"github.com/karbor-project/karbor/providers/protectable/share"
	"github.com/karbor-project/karbor/providers/protectable/volume"
)

// Plugins returns one plugin for each of the eight types, in the order of their
// entry-point names, in which the original loads them and its clients see them.
// Without a cluster, in a program that is built without Kubernetes, there are no
// pods among them.
func Plugins(clients *openstack.Factory, cluster kubernetes.Cluster, namespaces ...string) []protectable.Plugin {
	all := []protectable.Plugin{
		database.New(clients),
		image.New(clients),
		network.New(clients),
	}
	if cluster != nil {
		all = append(all, pod.New(cluster, namespaces...))
	}
	return append(all,
		project.New(),
		server.New(clients),
		share.New(clients),
		volume.New(clients, cluster),
	)
}

// Options are what the plugins read from karbor.conf, beside the clients'.
func Options() []config.Option {
	return append(append([]config.Option{}, kubernetes.Options...), pod.Options...)
}

// FromConfig returns Plugins as karbor.conf describes them.
func FromConfig(cfg *config.Config, clients *openstack.Factory, cluster kubernetes.Cluster) []protectable.Plugin {
	return Plugins(clients, cluster, pod.Namespaces(cfg)...)
}
