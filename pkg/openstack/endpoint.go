// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// endpoint selects the URL of a service for a caller: the configured one, then
// the one in the caller's catalogue, then the one that Keystone tells the
// service's own identity. It ends with a slash; own reports that the caller has no
// part in it but its project's id. Why a step had no result is logged only; the
// error names the service.
// karbor: services/protection/clients/utils.py get_url
func (f *Factory) endpoint(ctx context.Context, caller *requestcontext.RequestContext, s service) (endpoint string, own bool, err error) {
	if err := checkProject(caller.ProjectID); err != nil {
		return "", false, err
	}
	cfg := f.cfg.service(s)
	if cfg.Endpoint != "" {
		url, substituted := substitute(cfg.Endpoint, caller.ProjectID)
		url = strings.TrimRight(url, "/")
		if s.perProject && !substituted {
			url += "/" + caller.ProjectID
		}
		return url + "/", true, nil
	}
	url, err := fromCatalog(caller.ServiceCatalog, cfg)
	if err != nil {
		f.log.WithField("service", s.name).Debugf("no endpoint in the caller's catalogue: %v", err)
		url, err = f.directory.lookup(ctx, cfg)
		own = true
	}
	if err != nil {
		f.log.WithField("service", s.name).Debugf("no endpoint in Keystone: %v", err)
		return "", false, fault.KarborException("Couldn't find the endpoint of service(" + s.name + ")").WithCause(err)
	}
	url, _ = substitute(url, caller.ProjectID)
	return strings.TrimRight(url, "/") + "/", own, nil
}

// fromCatalog finds the first entry of the type that catalog_info names. Its
// name does not matter. Of several endpoints the one of the region counts.
func fromCatalog(catalog []requestcontext.Service, cfg ServiceConfig) (string, error) {
	parts := strings.Split(cfg.CatalogInfo, ":")
	if len(parts) != 3 {
		return "", fmt.Errorf("Failed to parse the catalog info option %s, must be in the form: <service_type>:<service_name>:<endpoint_type>", cfg.CatalogInfo) //nolint:staticcheck // operators know this text
	}
	for _, entry := range catalog {
		if entry.Type != parts[0] || len(entry.Endpoints) == 0 {
			continue
		}
		chosen := entry.Endpoints[0]
		for _, e := range entry.Endpoints {
			if e.Region == cfg.RegionID {
				chosen = e
				break
			}
		}
		if url := interfaceURL(chosen, parts[2]); url != "" {
			return url, nil
		}
		return "", fmt.Errorf("the entry of type %s has no %s", parts[0], parts[2])
	}
	return "", fmt.Errorf("no entry of type %s", parts[0])
}

func interfaceURL(e requestcontext.Endpoint, name string) string {
	switch name {
	case "publicURL":
		return e.PublicURL
	case "internalURL":
		return e.InternalURL
	case "adminURL":
		return e.AdminURL
	}
	return ""
}

// substitute fills the project's id into the placeholders that Keystone's
// endpoints may have, and tells whether there were any.
// keystone: catalog/core.py format_url
func substitute(url, projectID string) (string, bool) {
	filled := strings.NewReplacer(
		"$(tenant_id)s", projectID, "%(tenant_id)s", projectID,
		"$(project_id)s", projectID, "%(project_id)s", projectID,
	).Replace(url)
	return filled, filled != url
}

// versioned makes a Keystone URL of any form one that ends with /v3.
func versioned(url string) string {
	url = strings.TrimRight(url, "/")
	if url == "" || strings.HasSuffix(url, "/v3") {
		return url
	}
	return strings.TrimSuffix(url, "/v2.0") + "/v3"
}
