// SPDX-License-Identifier: Apache-2.0

// Package volume makes Cinder's volumes protectable.
package volume

import (
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
)

// unfit are the statuses in which a volume is not listed. As dependents they are
// not left out: a checkpoint must not miss a volume in silence.
// karbor: services/protection/protectable_plugins/volume.py
var unfit = []string{"deleting", "error", "error_deleting"}

// unprotectable are the statuses in which Cinder makes neither backups nor snapshots, and
// that do not pass by themselves. A server that is shelved keeps its volumes reserved.
// cinder: objects/fields.py, backup/api.py create
var unprotectable = append([]string{"error_backing-up", "error_managing", "error_managing_deleting", "awaiting-transfer", "reserved"}, unfit...)

// Clients makes Cinder clients for the caller of a context.
type Clients interface {
	BlockStorage(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Cluster reads pods and what backs their volumes.
type Cluster interface {
	Pod(ctx context.Context, namespace, name string) (*kubernetes.Pod, error)
	CinderVolume(ctx context.Context, namespace string, v kubernetes.Volume) (*kubernetes.Cinder, error)
}

// Plugin lists the volumes of the caller's project and links them to servers
// and pods.
type Plugin struct {
	clients Clients
	cluster Cluster // nil: there are no pods
}

var _ protectable.Judge = (*Plugin)(nil)

// New returns the plugin. Without a cluster, pods have no volumes.
func New(clients Clients, cluster Cluster) *Plugin {
	return &Plugin{clients: clients, cluster: cluster}
}

// Type returns OS::Cinder::Volume.
func (*Plugin) Type() string { return resource.Volume }

// ParentTypes returns server, pod and project.
func (p *Plugin) ParentTypes() []string {
	if p.cluster == nil {
		return []string{resource.Server, resource.Project}
	}
	return []string{resource.Server, resource.Pod, resource.Project}
}

type volume struct {
	ID               string  `json:"id"`
	Name             *string `json:"name"`
	Status           string  `json:"status"`
	AvailabilityZone string  `json:"availability_zone"`
	ProjectID        string  `json:"os-vol-tenant-attr:tenant_id"`
	Attachments      []struct {
		ServerID string `json:"server_id"`
	} `json:"attachments"`
}

func (v volume) resource() resource.Resource {
	r := resource.New(resource.Volume, v.ID, v.Name)
	r.ExtraInfo = protectable.ExtraInfo(map[string]string{"availability_zone": v.AvailabilityZone})
	return r
}

// List returns the volumes that are fit to be protected.
func (p *Plugin) List(ctx context.Context, _ protectable.Parameters) ([]resource.Resource, error) {
	return p.list(ctx, func(v volume) bool { return !slices.Contains(unfit, v.Status) })
}

func (p *Plugin) list(ctx context.Context, wanted func(volume) bool) ([]resource.Resource, error) {
	volumes, err := p.volumes(ctx)
	if err != nil {
		return nil, protectable.ListFailed(resource.Volume, err)
	}
	found := []resource.Resource{}
	for _, v := range volumes {
		if wanted(v) {
			found = append(found, v.resource())
		}
	}
	return found, nil
}

type listing struct{}

// volumes lists all volumes once per graph.
func (p *Plugin) volumes(ctx context.Context) ([]volume, error) {
	return protectable.Once(ctx, listing{}, func(ctx context.Context) ([]volume, error) {
		client, err := p.clients.BlockStorage(ctx)
		if err != nil {
			return nil, err
		}
		return openstack.List[volume](ctx, client, "volumes/detail", "volumes", nil)
	})
}

// Show returns one volume.
func (p *Plugin) Show(ctx context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	return p.statuses().Get(ctx, id, unfit, volume.resource)
}

func (p *Plugin) show(ctx context.Context, id string) (*volume, error) {
	client, err := p.clients.BlockStorage(ctx)
	if err != nil {
		return nil, err
	}
	return openstack.Show[volume](ctx, client, "volumes", id, "volume")
}

// Unfit implements protectable.Judge.
func (p *Plugin) Unfit(ctx context.Context, volumes []resource.Resource) (map[string]string, error) {
	return p.statuses().Unfit(ctx, volumes, unprotectable)
}

func (p *Plugin) statuses() protectable.Statuses[volume] {
	return protectable.Statuses[volume]{
		Type: resource.Volume, List: p.volumes, Show: p.show, Of: func(v volume) (id, status string) { return v.ID, v.Status },
	}
}

// Dependents returns the volumes that are attached to a server, that a pod
// mounts, or that a project owns.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	switch parent.Type {
	case resource.Server:
		return p.attachedTo(ctx, parent.ID)
	case resource.Project:
		return p.list(ctx, func(v volume) bool { return v.ProjectID == parent.ID })
	}
	mounted, err := p.mountedBy(ctx, parent)
	if err != nil {
		return nil, protectable.ShowFailed(resource.Pod, parent.ID, err)
	}
	if len(mounted) == 0 {
		return nil, nil
	}
	return p.list(ctx, func(v volume) bool { return slices.Contains(mounted, v.ID) })
}

type volumesOfServers struct{}

// attachedTo returns the volumes of a server, for all servers of a graph with one
// walk over the listing.
func (p *Plugin) attachedTo(ctx context.Context, serverID string) ([]resource.Resource, error) {
	attached, err := protectable.Once(ctx, volumesOfServers{}, func(ctx context.Context) (map[string][]resource.Resource, error) {
		volumes, err := p.volumes(ctx)
		attached := map[string][]resource.Resource{}
		for _, v := range volumes {
			servers := map[string]bool{} // one may have a volume twice
			for _, a := range v.Attachments {
				if !servers[a.ServerID] {
					servers[a.ServerID] = true
					attached[a.ServerID] = append(attached[a.ServerID], v.resource())
				}
			}
		}
		return attached, err
	})
	if err != nil {
		return nil, protectable.ListFailed(resource.Volume, err)
	}
	return attached[serverID], nil
}
