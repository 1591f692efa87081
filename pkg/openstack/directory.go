// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// directoryTTL is how long an endpoint returned by Keystone is cached.
const directoryTTL = 5 * time.Minute

// ErrNoService is wrapped by the error when neither the caller's catalogue nor Keystone
// has a service. It is not wrapped when Keystone does not answer.
var ErrNoService = errors.New("the cloud has no such service")

// directory looks up services in Keystone with the service's own identity when the
// caller's catalogue leaves them out.
type directory struct {
	factory *Factory
	now     func() time.Time

	mu    sync.Mutex
	known map[ServiceConfig]entry
}

type entry struct {
	url   string
	until time.Time
}

func newDirectory(f *Factory) *directory {
	return &directory{factory: f, now: time.Now, known: map[ServiceConfig]entry{}}
}

// lookup returns the URL of a service, with its placeholders.
func (d *directory) lookup(ctx context.Context, s service, cfg ServiceConfig) (string, error) {
	if d.factory.identity == nil {
		return "", fmt.Errorf("no identity is configured to ask Keystone with: %w", ErrNoService)
	}
	d.mu.Lock()
	found, ok := d.known[cfg]
	d.mu.Unlock()
	if ok && d.now().Before(found.until) {
		return found.url, nil
	}
	endpoint, err := d.ask(ctx, s, cfg)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.known[cfg] = entry{url: endpoint, until: d.now().Add(directoryTTL)}
	d.mu.Unlock()
	return endpoint, nil
}

// ask returns the endpoint of the service that has the configured name or one of its
// types, since today's installers register other names.
// keystone: GET /v3/services, GET /v3/endpoints?service_id=&interface=&region_id=
func (d *directory) ask(ctx context.Context, s service, cfg ServiceConfig) (string, error) {
	client, err := d.factory.keystone(ctx)
	if err != nil {
		return "", err
	}
	var all struct {
		Services []struct{ ID, Name, Type string }
	}
	if _, err := client.Get(ctx, client.ServiceURL("services"), &all, nil); err != nil {
		return "", fmt.Errorf("listing services in Keystone: %w", err)
	}
	types := s.types(cfg.ServiceType, s.catalogType)
	var ids []string // those of the name, and then by type
	for _, r := range all.Services {
		if r.Name == cfg.ServiceName {
			ids = append(ids, r.ID)
		}
	}
	named := len(ids)
	for _, kind := range types {
		for _, r := range all.Services {
			if r.Type == kind {
				ids = append(ids, r.ID)
			}
		}
	}
	for i, id := range ids {
		var at struct{ Endpoints []struct{ URL string } }
		query := url.Values{"service_id": {id}, "interface": {cfg.Interface}, "region_id": {cfg.RegionID}}
		if _, err := client.Get(ctx, client.ServiceURL("endpoints")+"?"+query.Encode(), &at, nil); err != nil {
			return "", fmt.Errorf("listing endpoints in Keystone: %w", err)
		}
		if len(at.Endpoints) > 0 && (i < named || !s.hasOtherVersion(at.Endpoints[0].URL)) {
			return at.Endpoints[0].URL, nil
		}
	}
	return "", fmt.Errorf("%w: Keystone has none named %s or of type %s with an %s endpoint in %s", ErrNoService, cfg.ServiceName, types[0], cfg.Interface, cfg.RegionID)
}
