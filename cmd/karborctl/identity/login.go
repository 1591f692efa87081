// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/karbor-project/karbor/pkg/httpclient"
	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// roleAdmin is the role that makes an administrator.
// karbor: policies/base.py, rule admin_api
const roleAdmin = "admin"

// login gets a token and makes the request context that keystonemiddleware and
// karbor-api make of one.
func (c *credentials) login(ctx context.Context) (*requestcontext.RequestContext, error) {
	client := httpclient.New(&http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls, DisableKeepAlives: true,
	})
	provider, err := config.NewProviderClient(ctx, c.auth, config.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", c.auth.IdentityEndpoint, plain(err))
	}
	switch result := provider.GetAuthResult().(type) {
	case tokens.CreateResult:
		return callerOf(provider.TokenID, result.Body, result)
	case tokens.GetResult:
		return callerOf(provider.TokenID, result.Body, result)
	}
	return nil, fmt.Errorf("logging in at %s: this is no Keystone with the v3 API", c.auth.IdentityEndpoint)
}

// plain takes out of an error of HTTP what an operator can act on. Bodies and
// headers are left out: they repeat the request.
func plain(err error) error {
	var unexpected gophercloud.ErrUnexpectedResponseCode
	var unreachable *url.Error
	switch {
	case errors.As(err, &unexpected) && unexpected.Actual == http.StatusUnauthorized:
		return errors.New("Keystone refuses the credentials (401)")
	case errors.As(err, &unexpected):
		return fmt.Errorf("%s %s answers %d %s", unexpected.Method, unexpected.URL, unexpected.Actual, http.StatusText(unexpected.Actual))
	case errors.As(err, &unreachable):
		return unreachable.Err
	}
	return err
}

// token reads the parts of an answer of Keystone.
type token interface {
	ExtractUser() (*tokens.User, error)
	ExtractProject() (*tokens.Project, error)
	ExtractRoles() ([]tokens.Role, error)
	ExtractServiceCatalog() (*tokens.ServiceCatalog, error)
}

func callerOf(id string, body any, t token) (*requestcontext.RequestContext, error) {
	info, infoErr := json.Marshal(body)
	user, userErr := t.ExtractUser()
	project, projectErr := t.ExtractProject()
	roles, rolesErr := t.ExtractRoles()
	catalog, catalogErr := t.ExtractServiceCatalog()
	if err := errors.Join(infoErr, userErr, projectErr, rolesErr, catalogErr); err != nil {
		return nil, errors.New("Keystone's answer has no user, roles or catalogue in it")
	}
	if project == nil || project.ID == "" {
		return nil, errors.New("the credentials name no project: set OS_PROJECT_NAME or OS_PROJECT_ID, or project_name in clouds.yaml")
	}
	caller := &requestcontext.RequestContext{
		UserID: user.ID, ProjectID: project.ID, ProjectName: project.Name,
		RequestID: requestcontext.NewRequestID(), AuthToken: id, AuthTokenInfo: info,
		Extra: map[string]json.RawMessage{},
	}
	for _, role := range roles {
		caller.Roles = append(caller.Roles, role.Name)
	}
	caller.IsAdmin = slices.ContainsFunc(caller.Roles, func(role string) bool { return strings.EqualFold(role, roleAdmin) })
	if name, err := json.Marshal(user.Name); err == nil {
		caller.Extra["user_name"] = name
	}
	for _, entry := range catalog.Entries {
		caller.ServiceCatalog = append(caller.ServiceCatalog, service(entry))
	}
	return caller, nil
}

// service turns an entry of a v3 catalogue into the form of v2: an endpoint per
// region, with a URL for each interface.
// keystonemiddleware: auth_token/_request.py _v3_to_v2_catalog
func service(entry tokens.CatalogEntry) requestcontext.Service {
	s := requestcontext.Service{Type: entry.Type, Name: entry.Name}
	at := map[string]int{}
	for _, e := range entry.Endpoints {
		region := e.RegionID
		if region == "" {
			region = e.Region
		}
		i, known := at[region]
		if !known {
			i = len(s.Endpoints)
			at[region] = i
			s.Endpoints = append(s.Endpoints, requestcontext.Endpoint{Region: region})
		}
		switch e.Interface {
		case "public":
			s.Endpoints[i].PublicURL = e.URL
		case "internal":
			s.Endpoints[i].InternalURL = e.URL
		case "admin":
			s.Endpoints[i].AdminURL = e.URL
		}
	}
	return s
}
