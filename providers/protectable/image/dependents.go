// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protectable/server"
)

// Dependents returns the image of a server, which notes the server in its
// extra_info, or the images that a project owns.
func (p *Plugin) Dependents(ctx context.Context, parent resource.Resource) ([]resource.Resource, error) {
	if parent.Type == resource.Project {
		return p.list(ctx, func(i image) bool { return i.Owner == parent.ID })
	}
	i, err := p.bootedFrom(ctx, parent.ID)
	if err != nil {
		return nil, protectable.ListFailed(resource.Image, err)
	}
	if i == nil {
		return nil, nil
	}
	r := i.resource()
	r.ExtraInfo = protectable.ExtraInfo(map[string]string{"server_id": parent.ID})
	return []resource.Resource{r}, nil
}

// bootedFrom returns the image of a server, nil if it was booted from a volume.
func (p *Plugin) bootedFrom(ctx context.Context, serverID string) (*image, error) {
	id, err := p.imageID(ctx, serverID)
	if err != nil || id == "" {
		return nil, err
	}
	if protectable.Many(ctx, resource.Image) {
		all, err := p.byID(ctx)
		if err != nil {
			return nil, err
		}
		if i, ok := all[id]; ok {
			return &i, nil
		}
		// A listing leaves out what is hidden, or somebody else's and not public.
	}
	type imageKey string
	found, err := protectable.Once(ctx, imageKey(id), func(ctx context.Context) (*image, error) {
		if err := protectable.Single(ctx, resource.Image); err != nil {
			return nil, err
		}
		return p.show(ctx, id)
	})
	if openstack.IsNotFound(err) || errors.Is(err, protectable.ErrUnlisted) {
		// The server has its disk of it all the same, be it deleted or not looked for.
		return &image{ID: id}, nil
	}
	return found, err
}

type imagesByID struct{}

func (p *Plugin) byID(ctx context.Context) (map[string]image, error) {
	return protectable.Once(ctx, imagesByID{}, func(ctx context.Context) (map[string]image, error) {
		images, err := p.images(ctx)
		byID := make(map[string]image, len(images))
		for _, i := range images {
			byID[i.ID] = i
		}
		return byID, err
	})
}

type imagesOfServers struct{}

// imageID returns the id of a server's image, "" if there is none.
func (p *Plugin) imageID(ctx context.Context, serverID string) (string, error) {
	if protectable.Many(ctx, resource.Server) {
		ids, err := protectable.Once(ctx, imagesOfServers{}, func(ctx context.Context) (map[string]string, error) {
			servers, err := server.All(ctx, p.clients)
			ids := make(map[string]string, len(servers))
			for _, s := range servers {
				ids[s.ID] = s.ImageID()
			}
			return ids, err
		})
		if err != nil {
			return "", err
		}
		if id, ok := ids[serverID]; ok {
			return id, nil
		}
		// Another project's, or newer than the listing.
	}
	if err := protectable.Single(ctx, resource.Server); err != nil {
		return "", err
	}
	s, err := server.One(ctx, p.clients, serverID)
	if err != nil {
		return "", err
	}
	return s.ImageID(), nil
}
