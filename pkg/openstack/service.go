// SPDX-License-Identifier: Apache-2.0

package openstack

// service is one OpenStack service that the plugins call.
type service struct {
	// name is karbor's short name: option prefix, section prefix and the name in
	// error texts. karbor: services/protection/clients/*.py
	name string
	// catalogName and catalogType are the defaults of service_name and
	// service_type.
	catalogName, catalogType string
	// perProject tells that a URL from <name>_endpoint gets the project id
	// appended.
	perProject bool
	// clientType is the type by which gophercloud picks microversion headers.
	clientType string
	// microversioned tells that the service has microversions; microversion is the
	// one that the plugins are made for, "" being the service's lowest.
	microversioned bool
	microversion   string
	// version is the part of the path that the plugins' calls go below, when the
	// catalogue has URLs without it.
	version string
	// needsSession tells that calls with nothing but a bare token are refused.
	needsSession bool
}

// The services in the order of their option groups. karbor: clients/*.py, with
// the microversion of clients/cinder.py.
var (
	cinder  = service{name: "cinder", catalogName: "cinderv3", catalogType: "volumev3", perProject: true, clientType: "block-storage", microversioned: true, microversion: "3.43"}
	freezer = service{name: "freezer", catalogName: "freezer", catalogType: "backup", perProject: true}
	glance  = service{name: "glance", catalogName: "glance", catalogType: "image", clientType: "image", version: "v2"}
	manila  = service{name: "manila", catalogName: "manilav2", catalogType: "sharev2", perProject: true, clientType: "shared-file-system", microversioned: true, microversion: "2.0"}
	neutron = service{name: "neutron", catalogName: "neutron", catalogType: "network", clientType: "network", version: "v2.0"}
	nova    = service{name: "nova", catalogName: "nova", catalogType: "compute", perProject: true, clientType: "compute", microversioned: true, needsSession: true}
	trove   = service{name: "trove", catalogName: "trove", catalogType: "database", perProject: true, clientType: "database"}

	services = []service{cinder, freezer, glance, manila, neutron, nova, trove}
)

// keystoneName is what the one service is called that has no plugin.
const keystoneName = "keystone"

func (s service) group() string { return s.name + "_client" }
