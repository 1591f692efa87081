// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"fmt"
	"regexp"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
)

// DefaultMaxCalls is how many calls of one service run at the same time.
const DefaultMaxCalls = 32

// Config is the part of karbor.conf that a Factory uses.
type Config struct {
	// AuthURI is Keystone's URL without a version, [clients_keystone] auth_uri.
	AuthURI string
	// Keystone holds the settings in [keystone_authtoken] for reaching Keystone.
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
	ServiceType string // type in the catalogue, before the one in CatalogInfo; "" is none
	RegionID    string
	Interface   string // public, internal or admin, for the look-up in Keystone
	Endpoint    string // <svc>_endpoint: base URL that overrides the catalogue
	CatalogInfo string // <svc>_catalog_info: type:name:interfaceURL
	CAFile      string // <svc>_ca_cert_file
	Insecure    bool   // <svc>_auth_insecure
	MaxCalls    int    // concurrent calls; 0 is DefaultMaxCalls
	// Microversion is sent with each call; "" means the microversion that the plugins
	// are written for.
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

// keystoneURL returns Keystone's v3 URL without a trailing slash, or "" if none
// is configured. karbor: common/karbor_keystone_plugin.py
func (c Config) keystoneURL() string {
	base := c.AuthURI
	if base == "" {
		base = c.Keystone.AuthenticateURI
	}
	return versioned(base)
}

// Sections of karbor.conf.
const (
	keystoneGroup   = "clients_keystone"
	trusteeGroup    = "trustee"
	middlewareGroup = "keystone_authtoken"
)

// Options returns everything that FromConfig reads from karbor.conf.
func Options() []config.Option {
	options := []config.Option{
		{Group: keystoneGroup, Name: "auth_uri", Default: "", Help: "Keystone's URL without a version. Empty: [keystone_authtoken] www_authenticate_uri."},
		{Group: middlewareGroup, Name: "www_authenticate_uri", Deprecated: []config.Name{{Name: "auth_uri"}}, Help: "Keystone's public URL."},
		{Group: middlewareGroup, Name: "cafile", Help: "CA bundle to verify Keystone with."},
		{Group: middlewareGroup, Name: "insecure", Kind: config.Bool, Default: false, Help: "Do not verify Keystone's certificate."},
	}
	options = append(options, identityOptions(trusteeGroup)...)
	options = append(options, identityOptions(middlewareGroup)...)
	for _, s := range services {
		options = append(options, s.options()...)
	}
	return options
}

// microversions is the form of a microversion.
var microversions = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)

// identityOptions returns the options of keystoneauth's password plugins.
// keystoneauth1: loading/_plugins/identity/v3.py
func identityOptions(group string) []config.Option {
	scoped := "."
	if group == trusteeGroup {
		scoped = ". Leave it out where karbor-operationengine reads this section, which adds a trust to it that Keystone " +
			"takes with no other scope. The user needs a default project then, or [keystone_authtoken] names one."
	}
	option := func(name, help string, old ...string) config.Option {
		o := config.Option{Group: group, Name: name, Help: help}
		for _, n := range old {
			o.Deprecated = append(o.Deprecated, config.Name{Name: n})
		}
		return o
	}
	secret := func(o config.Option) config.Option { o.Secret = true; return o }
	return []config.Option{
		option("auth_type", "How the service logs in: password, v3password, v3applicationcredential or v3token. Empty: it does not.", "auth_plugin"),
		option("auth_section", "Section to read these options from: trustee or keystone_authtoken."),
		option("auth_url", "Keystone's URL."),
		option("username", "User name.", "user_name"),
		option("user_id", "User id."),
		secret(option("password", "Password.")),
		option("user_domain_id", "Id of the user's domain."),
		option("user_domain_name", "Name of the user's domain."),
		option("project_id", "Id of the project to be scoped to"+scoped, "tenant_id"),
		option("project_name", "Name of the project to be scoped to"+scoped, "tenant_name"),
		option("project_domain_id", "Id of the project's domain."),
		option("project_domain_name", "Name of the project's domain."),
		option("domain_id", "Id of the domain to be scoped to."),
		option("domain_name", "Name of the domain to be scoped to."),
		option("default_domain_id", "Id of the domain of user and project if they name none."),
		option("default_domain_name", "Name of the domain of user and project if they name none."),
		option("trust_id", "Trust to be scoped to."),
		option("system_scope", "Scope of the whole system: all."),
		secret(option("token", "Token for auth_type v3token.")),
		option("application_credential_id", "Id of the application credential."),
		option("application_credential_name", "Name of the application credential."),
		secret(option("application_credential_secret", "Secret of the application credential.")),
	}
}

// FromConfig reads Options. It fails for an unknown auth_type: without the service's
// own token, long operations would fail much later.
func FromConfig(cfg *config.Config) (Config, error) {
	c := Config{
		AuthURI: cfg.String(keystoneGroup, "auth_uri"),
		Keystone: KeystoneConfig{
			AuthenticateURI: cfg.String(middlewareGroup, "www_authenticate_uri"),
			CAFile:          cfg.String(middlewareGroup, "cafile"),
			Insecure:        cfg.Bool(middlewareGroup, "insecure"),
		},
		Services: map[string]ServiceConfig{},
	}
	for _, s := range services {
		group, microversion := s.group(), ""
		if s.microversioned {
			if microversion = cfg.String(group, "microversion"); microversion != "" && !microversions.MatchString(microversion) {
				return c, fmt.Errorf("[%s] microversion = %s: want two numbers, such as 2.1", group, microversion)
			}
		}
		serviceType := ""
		if cfg.IsSet(group, "service_type") && !cfg.IsSet(group, s.name+"_catalog_info") {
			serviceType = cfg.String(group, "service_type")
		}
		c.Services[s.name] = ServiceConfig{
			ServiceName: cfg.String(group, "service_name"),
			ServiceType: serviceType,
			RegionID:    cfg.String(group, "region_id"),
			Interface:   cfg.String(group, "interface"),
			Endpoint:    cfg.String(group, s.name+"_endpoint"),
			CatalogInfo: cfg.String(group, s.name+"_catalog_info"),
			CAFile:      cfg.String(group, s.name+"_ca_cert_file"),
			Insecure:    cfg.Bool(group, s.name+"_auth_insecure"),
			MaxCalls:    cfg.Int(group, "max_calls"),

			Microversion: microversion,
		}
	}
	var err error
	c.Trustee, err = trustee(cfg)
	return c, err
}

// trustee returns the service's identity, nil if none is configured.
func trustee(cfg *config.Config) (*IdentityConfig, error) {
	group := trusteeGroup
	switch section := cfg.String(group, "auth_section"); section {
	case "", trusteeGroup:
	case middlewareGroup:
		group = middlewareGroup
	default:
		return nil, fmt.Errorf("[trustee] auth_section = %s: only trustee and keystone_authtoken can hold the identity", section)
	}
	get := func(name string) string { return cfg.String(group, name) }
	options := gophercloud.AuthOptions{Scope: scope(get)}
	switch kind := get("auth_type"); kind {
	case "":
		return nil, nil
	case "password", "v3password":
		options.Username, options.UserID, options.Password = get("username"), get("user_id"), get("password")
		options.DomainID, options.DomainName = domain(get, "user")
		if options.UserID != "" {
			options.Username, options.DomainID, options.DomainName = "", "", ""
		}
	case "v3applicationcredential":
		options.ApplicationCredentialID = get("application_credential_id")
		options.ApplicationCredentialName = get("application_credential_name")
		options.ApplicationCredentialSecret = get("application_credential_secret")
		options.Username, options.UserID, options.Scope = get("username"), get("user_id"), nil
		options.DomainID, options.DomainName = domain(get, "user")
	case "token", "v3token":
		options.TokenID = get("token")
	default:
		return nil, fmt.Errorf("[%s] auth_type = %s is not known", group, kind)
	}
	if get("auth_url") == "" {
		return nil, fmt.Errorf("[%s] auth_url is missing", group)
	}
	identity := &IdentityConfig{AuthURL: get("auth_url"), Options: options}
	if options.Scope == nil {
		// karbor-operationengine adds a trust to what [trustee] says, and Keystone
		// refuses a login to a trust and a project: so none is named there.
		identity.Project = project(func(name string) string { return cfg.String(middlewareGroup, name) })
	}
	return identity, nil
}

// scope returns the scope of the token, nil for an unscoped one.
func scope(get func(string) string) *gophercloud.AuthScope {
	switch {
	case get("trust_id") != "":
		return &gophercloud.AuthScope{TrustID: get("trust_id")}
	case get("system_scope") != "":
		return &gophercloud.AuthScope{System: true}
	case get("project_id") != "", get("project_name") != "":
		return project(get)
	case get("domain_id") != "":
		return &gophercloud.AuthScope{DomainID: get("domain_id")}
	case get("domain_name") != "":
		return &gophercloud.AuthScope{DomainName: get("domain_name")}
	}
	return nil
}

// project returns the scope of the configured project, nil if none is named.
func project(get func(string) string) *gophercloud.AuthScope {
	switch {
	case get("project_id") != "":
		return &gophercloud.AuthScope{ProjectID: get("project_id")}
	case get("project_name") != "":
		id, name := domain(get, "project")
		return &gophercloud.AuthScope{ProjectName: get("project_name"), DomainID: id, DomainName: name}
	}
	return nil
}

// domain returns the domain of a user or project: by id, by name, or the default one.
// Only one of the results is set, as Keystone requires.
func domain(get func(string) string, of string) (id, name string) {
	for _, prefix := range []string{of + "_domain", "default_domain"} {
		if id := get(prefix + "_id"); id != "" {
			return id, ""
		}
		if name := get(prefix + "_name"); name != "" {
			return "", name
		}
	}
	return "", ""
}
