// SPDX-License-Identifier: Apache-2.0

// Package resource holds what a plan protects: the resource, the graph of
// resources and their dependents, and the text in which a checkpoint keeps
// that graph.
package resource

import "encoding/json"

// Types of resources, in the alphabetical order of the protectables that find them.
// They are stored in plans and in the bank and never change.
//
// karbor: common/constants.py
const (
	Database = "OS::Trove::Instance"
	Image    = "OS::Glance::Image"
	Network  = "OS::Neutron::Network"
	Pod      = "OS::Kubernetes::Pod"
	Project  = "OS::Keystone::Project"
	Server   = "OS::Nova::Server"
	Share    = "OS::Manila::Share"
	Volume   = "OS::Cinder::Volume"
)

// Types lists every resource type that the service knows.
func Types() []string {
	return []string{Database, Image, Network, Pod, Project, Server, Share, Volume}
}

// Resource is one thing to protect.
type Resource struct {
	Type string
	ID   string
	Name string
	// Unnamed means that the name is null, which differs from an empty name. Name is
	// empty then.
	Unnamed bool

	// ExtraInfo is any JSON value, nil meaning null. A resource in a plan has a JSON
	// string (whose content is again JSON) or null; a resource found by a protectable
	// has an object or null. Readers accept both.
	ExtraInfo json.RawMessage
}

// New returns a resource whose name may be null.
func New(kind, id string, name *string) Resource {
	if name == nil {
		return Resource{Type: kind, ID: id, Unnamed: true}
	}
	return Resource{Type: kind, ID: id, Name: *name}
}

// NameOrNull returns the name as encoding/json writes it.
func (r Resource) NameOrNull() *string {
	if r.Unnamed {
		return nil
	}
	return &r.Name
}

// Key identifies a resource. The name is not part of it: a plan stores the name that
// the resource had when the plan was made.
type Key struct {
	Type string
	ID   string
}

// Key returns the identity of the resource.
func (r Resource) Key() Key { return Key{Type: r.Type, ID: r.ID} }

// String returns type#id, the form that parameters and resources_status use for a
// resource.
func (k Key) String() string { return k.Type + "#" + k.ID }
