// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

// credentials are what a login needs.
type credentials struct {
	auth gophercloud.AuthOptions
	tls  *tls.Config
}

// credentials reads the entry of clouds.yaml that is named, or the OS_*
// variables. A name comes before the variables, as in the openstack client.
func (o Options) credentials() (*credentials, error) {
	name := o.Cloud
	if name == "" {
		name = o.Getenv("OS_CLOUD")
	}
	source := []clouds.ParseOption{clouds.WithCloudName(name)}
	from := "cloud " + name
	if name == "" {
		text, err := o.environment()
		if err != nil {
			return nil, err
		}
		from = "the OS_* variables"
		source = []clouds.ParseOption{clouds.WithCloudName(envCloud), clouds.WithCloudsYAML(bytes.NewReader(text))}
	}
	auth, _, secure, err := clouds.Parse(source...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from, err)
	}
	if auth.IdentityEndpoint == "" {
		return nil, fmt.Errorf("read %s: there is no auth_url", from)
	}
	auth.AllowReauth = false
	return &credentials{auth: auth, tls: secure}, nil
}

// envCloud is the name that os-client-config gives to the environment.
const envCloud = "envvars"

// defaultDomain is the id of the domain that users and projects are in when
// nothing says which. keystone: conf/identity.py default_domain_id
const defaultDomain = "default"

// environment makes a clouds.yaml of the OS_* variables, so that both ways of
// naming a cloud end in one: JSON is YAML.
func (o Options) environment() ([]byte, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if value := o.Getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	auth := clouds.AuthInfo{
		AuthURL: first("OS_AUTH_URL"), Token: first("OS_TOKEN", "OS_AUTH_TOKEN"),
		Username: first("OS_USERNAME"), UserID: first("OS_USER_ID", "OS_USERID"), Password: first("OS_PASSWORD"),
		UserDomainID: first("OS_USER_DOMAIN_ID"), UserDomainName: first("OS_USER_DOMAIN_NAME"),
		ProjectID: first("OS_PROJECT_ID", "OS_TENANT_ID"), ProjectName: first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		ProjectDomainID: first("OS_PROJECT_DOMAIN_ID"), ProjectDomainName: first("OS_PROJECT_DOMAIN_NAME"),
		DomainID: first("OS_DOMAIN_ID"), DomainName: first("OS_DOMAIN_NAME"), TrustID: first("OS_TRUST_ID"),
		ApplicationCredentialID:     first("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialName:   first("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationCredentialSecret: first("OS_APPLICATION_CREDENTIAL_SECRET"),
	}
	withDomain := auth.DomainID != "" || auth.DomainName != ""
	if auth.Username != "" && auth.UserID == "" && auth.UserDomainID == "" && auth.UserDomainName == "" && !withDomain {
		auth.UserDomainID = defaultDomain
	}
	if auth.ProjectName != "" && auth.ProjectID == "" && auth.ProjectDomainID == "" && auth.ProjectDomainName == "" && !withDomain {
		auth.ProjectDomainID = defaultDomain
	}
	cloud := map[string]any{"auth": auth}
	if insecure, err := strconv.ParseBool(o.Getenv("OS_INSECURE")); err == nil && insecure {
		cloud["verify"] = false
	}
	text, err := json.Marshal(map[string]any{"clouds": map[string]any{envCloud: cloud}})
	if err != nil {
		return nil, fmt.Errorf("read the OS_* variables: %w", err)
	}
	return text, nil
}
