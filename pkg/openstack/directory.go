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

// directoryTTL is how long an endpoint that Keystone named is used without
// asking again.
const directoryTTL = 5 * time.Minute

// directory looks services up in Keystone with the service's own identity, for
// services that the caller's catalogue leaves out.
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

// lookup returns the URL of the service that cfg names, with its placeholders.
func (d *directory) lookup(ctx context.Context, cfg ServiceConfig) (string, error) {
	if d.factory.identity == nil {
		return "", errors.New("no identity is configured to ask Keystone with")
	}
	d.mu.Lock()
	found, ok := d.known[cfg]
	d.mu.Unlock()
	if ok && d.now().Before(found.until) {
		return found.url, nil
	}
	endpoint, err := d.ask(ctx, cfg)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.known[cfg] = entry{url: endpoint, until: d.now().Add(directoryTTL)}
	d.mu.Unlock()
	return endpoint, nil
}

// ask returns the first endpoint of the first service of the name.
// keystone: GET /v3/services?name=, GET /v3/endpoints?service_id=&interface=&region_id=
func (d *directory) ask(ctx context.Context, cfg ServiceConfig) (string, error) {
	client, err := d.factory.keystone(ctx)
	if err != nil {
		return "", err
	}
	var named struct {
		Services []struct {
			ID string `json:"id"`
		} `json:"services"`
	}
	query := url.Values{"name": {cfg.ServiceName}}
	if _, err := client.Get(ctx, client.ServiceURL("services")+"?"+query.Encode(), &named, nil); err != nil {
		return "", fmt.Errorf("listing services in Keystone: %w", err)
	}
	if len(named.Services) == 0 {
		return "", fmt.Errorf("Keystone has no service named %s", cfg.ServiceName)
	}
	var at struct {
		Endpoints []struct {
			URL string `json:"url"`
		} `json:"endpoints"`
	}
	query = url.Values{"service_id": {named.Services[0].ID}, "interface": {cfg.Interface}, "region_id": {cfg.RegionID}}
	if _, err := client.Get(ctx, client.ServiceURL("endpoints")+"?"+query.Encode(), &at, nil); err != nil {
		return "", fmt.Errorf("listing endpoints in Keystone: %w", err)
	}
	if len(at.Endpoints) == 0 {
		return "", fmt.Errorf("Keystone has no %s endpoint of %s in %s", cfg.Interface, cfg.ServiceName, cfg.RegionID)
	}
	return at.Endpoints[0].URL, nil
}
