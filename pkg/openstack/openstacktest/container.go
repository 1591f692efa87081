// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"net/url"
	"os"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// swift returns a client of the project's account, nil without Swift.
func (p *RealProject) swift() *gophercloud.ServiceClient {
	if os.Getenv("KARBOR_TEST_SWIFT") == "" {
		return nil
	}
	for _, s := range p.Caller.ServiceCatalog {
		if s.Type == "object-store" && len(s.Endpoints) > 0 {
			return plainClient(p.t, s.Endpoints[0].PublicURL, p.Caller.AuthToken)
		}
	}
	return nil
}

// containers returns the names of the account's containers.
func (p *RealProject) containers() []string {
	client := p.swift()
	if client == nil {
		return nil
	}
	return p.names(client, client.Endpoint)
}

// Objects returns the names of a container's objects, such as those of volume
// backups. More than 10,000 are cut off.
func (p *RealProject) Objects(container string) []string {
	client := p.swift()
	return p.names(client, client.ServiceURL(url.PathEscape(container)))
}

func (p *RealProject) names(client *gophercloud.ServiceClient, address string) []string {
	p.t.Helper()
	var listed []struct{ Name string }
	_, err := client.Get(p.ctx, address+"?format=json", &listed, &gophercloud.RequestOpts{OkCodes: []int{200, 204}})
	if openstack.IsNotFound(err) {
		return nil // an account exists once something was put there
	}
	must(p.t, err)
	names := []string{}
	for _, l := range listed {
		names = append(names, l.Name)
	}
	return names
}

// RemoveContainer removes a container and its objects.
func (p *RealProject) RemoveContainer(name string) {
	client := p.swift()
	for _, object := range p.Objects(name) {
		_, err := client.Delete(p.ctx, client.ServiceURL(url.PathEscape(name), (&url.URL{Path: object}).EscapedPath()), nil)
		if err != nil && !openstack.IsNotFound(err) {
			p.t.Errorf("remove object %s: %v", object, err)
		}
	}
	if _, err := client.Delete(p.ctx, client.ServiceURL(url.PathEscape(name)), nil); err != nil && !openstack.IsNotFound(err) {
		p.t.Errorf("remove container %s: %v", name, err)
	}
}
