// SPDX-License-Identifier: Apache-2.0

// Package builtin lists the protection plugins that come with the service.
package builtin

import (
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/cinderbackup"
	"github.com/karbor-project/karbor/providers/protection/database"
	"github.com/karbor-project/karbor/providers/protection/freezer"
	"github.com/karbor-project/karbor/providers/protection/image"
	"github.com/karbor-project/karbor/providers/protection/network"
	"github.com/karbor-project/karbor/providers/protection/noop"
	"github.com/karbor-project/karbor/providers/protection/pod"
	"github.com/karbor-project/karbor/providers/protection/project"
	"github.com/karbor-project/karbor/providers/protection/server"
	"github.com/karbor-project/karbor/providers/protection/share"
	"github.com/karbor-project/karbor/providers/protection/volumeglance"
	"github.com/karbor-project/karbor/providers/protection/volumesnapshot"
)

// Register adds the plugins to a registry.
func Register(r *protection.Registry) {
	cinderbackup.Register(r)
	database.Register(r)
	freezer.Register(r)
	image.Register(r)
	network.Register(r)
	noop.Register(r)
	pod.Register(r)
	project.Register(r)
	server.Register(r)
	share.Register(r)
	volumeglance.Register(r)
	volumesnapshot.Register(r)
}
