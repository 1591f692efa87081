// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"regexp"
	"slices"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
)

// service is one OpenStack service that the plugins call.
type service struct {
	// name is karbor's short name: option prefix, section prefix and the name in
	// error texts. karbor: services/protection/clients/*.py
	name string
	// catalogName and catalogType are the defaults of service_name and
	// service_type.
	catalogName, catalogType string
	// perProject appends the project id to a URL from <name>_endpoint.
	perProject bool
	// clientType is the official type, by which gophercloud chooses microversion
	// headers.
	clientType string
	// microversioned means that the service has microversions; microversion is the
	// one that the plugins are made for, "" being the service's lowest.
	microversioned bool
	microversion   string
	// major begins the version in the path of an endpoint, where a service has several.
	major string
	// version is the part of the path that the plugins' calls go below, when the
	// catalogue has URLs without it.
	version string
	// needsSession refuses a context that has only a token.
	needsSession bool
}

// The services in the order of their option groups. karbor: clients/*.py, with
// the microversion of clients/cinder.py.
var (
	cinder  = service{name: "cinder", catalogName: "cinderv3", catalogType: "volumev3", perProject: true, clientType: "block-storage", major: "v3", microversioned: true, microversion: "3.43"}
	freezer = service{name: "freezer", catalogName: "freezer", catalogType: "backup", perProject: true}
	glance  = service{name: "glance", catalogName: "glance", catalogType: "image", clientType: "image", version: "v2"}
	manila  = service{name: "manila", catalogName: "manilav2", catalogType: "sharev2", perProject: true, clientType: "shared-file-system", major: "v2", microversioned: true, microversion: "2.0"}
	neutron = service{name: "neutron", catalogName: "neutron", catalogType: "network", clientType: "network", version: "v2.0"}
	nova    = service{name: "nova", catalogName: "nova", catalogType: "compute", perProject: true, clientType: "compute", microversioned: true, needsSession: true}
	trove   = service{name: "trove", catalogName: "trove", catalogType: "database", perProject: true, clientType: "database"}

	services = []service{cinder, freezer, glance, manila, neutron, nova, trove}
)

// keystoneName is the name of the one service without a plugin.
const keystoneName = "keystone"

func (s service) group() string { return s.name + "_client" }

func (s service) catalogInfo() string { return s.catalogType + ":" + s.catalogName + ":publicURL" }

// types returns the types that the service may have in a catalogue: the configured ones,
// the official one, and its aliases.
// service-types authority: service-types.yaml
func (s service) types(configured ...string) []string {
	all := append(configured, s.clientType)
	all = append(all, gophercloud.ServiceTypeAliases[s.clientType]...)
	return slices.DeleteFunc(all, func(t string) bool { return t == "" })
}

// hasOtherVersion reports whether a URL leads to another major version of the service's
// API: "volume" and "share" are types of v1 in old clouds.
func (s service) hasOtherVersion(endpoint string) bool {
	version := versionInPath.FindStringSubmatch(endpoint)
	return s.major != "" && version != nil && version[1] != s.major
}

// versionInPath finds the major version of an API in a URL.
var versionInPath = regexp.MustCompile(`/(v[0-9]+)(?:[./]|$)`)

// options returns the options of a service's section. karbor: services/protection/clients/*.py
func (s service) options() []config.Option {
	group, title := s.group(), s.name
	options := []config.Option{
		{Group: group, Name: "service_name", Default: s.catalogName, Help: "Name of the service in Keystone, for the look-up there."},
		{Group: group, Name: "service_type", Default: s.catalogType, Help: "Type of the service in the catalogue, in place of the one in " + s.name + "_catalog_info."},
		{Group: group, Name: "version", Help: "Version of the service. Accepted and not used."},
		{Group: group, Name: "region_id", Default: "RegionOne", Help: "Region of the endpoint."},
		{Group: group, Name: "interface", Default: "internal", Help: "Interface (internal, public, admin) of the endpoint that is looked up in Keystone."},
		{Group: group, Name: "ca_cert_file", Help: "Accepted and not used, see " + s.name + "_ca_cert_file."},
		{Group: group, Name: "auth_insecure", Kind: config.Bool, Default: false, Help: "Accepted and not used, see " + s.name + "_auth_insecure."},
		{Group: group, Name: s.name + "_endpoint", Help: "Base URL of " + title + ", in place of the one in the catalogue."},
		{Group: group, Name: s.name + "_catalog_info", Default: s.catalogInfo(), Help: "Where to find " + title + " in the caller's catalogue: <service_type>:<service_name>:<endpoint_type>."},
		{Group: group, Name: s.name + "_ca_cert_file", Help: "CA bundle to verify " + title + " with."},
		{Group: group, Name: s.name + "_auth_insecure", Kind: config.Bool, Default: false, Help: "Do not verify the certificate of " + title + "."},
		{Group: group, Name: "max_calls", Kind: config.Int, Default: DefaultMaxCalls, Min: config.Bound(1), Help: "How many calls of " + title + " run at the same time."},
	}
	if s.microversioned {
		options = append(options, config.Option{Group: group, Name: "microversion", Default: s.microversion,
			Help: "Microversion of " + title + "'s API, such as 2.1, that calls ask for. Empty: none. The default is what the plugins are made for."})
	}
	return options
}
