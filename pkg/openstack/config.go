// SPDX-License-Identifier: Apache-2.0

package openstack

// DefaultMaxCalls is how many calls of one service run at the same time.
const DefaultMaxCalls = 32

// Config is what a Factory needs to know of karbor.conf.
type Config struct {
	// AuthURI is Keystone's URL without a version, [clients_keystone] auth_uri.
	AuthURI string
	// Keystone holds what [keystone_authtoken] says of reaching Keystone.
	Keystone KeystoneConfig
	// Trustee is the identity of the service itself. Nil without one: then no
	// service tokens are sent and no endpoint is looked up in Keystone.
	Trustee *IdentityConfig
	// Services holds the settings by karbor's short service name ("cinder").
	Services map[string]ServiceConfig
}

// KeystoneConfig is the part of [keystone_authtoken] that this service uses.
type KeystoneConfig struct {
	AuthenticateURI string // www_authenticate_uri
	CAFile          string
	Insecure        bool
}

// ServiceConfig is one of the [*_client] sections.
type ServiceConfig struct {
	ServiceName string // name in Keystone, for the look-up there
	RegionID    string
	Interface   string // public, internal or admin, for the look-up in Keystone
	Endpoint    string // <svc>_endpoint: base URL that overrides the catalogue
	CatalogInfo string // <svc>_catalog_info: type:name:interfaceURL
	CAFile      string // <svc>_ca_cert_file
	Insecure    bool   // <svc>_auth_insecure
	MaxCalls    int    // concurrent calls; 0 is DefaultMaxCalls
	// Microversion is sent with each call; "" is what the plugins are made for.
	Microversion string
}

// service returns the settings of a service, or the defaults for one
// that has no section.
func (c Config) service(s service) ServiceConfig {
	if cfg, ok := c.Services[s.name]; ok {
		return cfg
	}
	return ServiceConfig{
		ServiceName: s.catalogName,
		RegionID:    "RegionOne",
		Interface:   "internal",
		CatalogInfo: s.catalogInfo(),
	}
}

func (s service) catalogInfo() string { return s.catalogType + ":" + s.catalogName + ":publicURL" }

// keystoneURL returns Keystone's v3 URL without a trailing slash, or "" if none
// is configured. karbor: common/karbor_keystone_plugin.py
func (c Config) keystoneURL() string {
	base := c.AuthURI
	if base == "" {
		base = c.Keystone.AuthenticateURI
	}
	return versioned(base)
}
