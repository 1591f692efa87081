// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/singleflight"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/httpclient"
)

// renewBefore is how long before its expiry a service token is replaced, so that a
// token does not expire in transit.
const renewBefore = 2 * time.Minute

// loginTimeout bounds one login at Keystone. The context of the caller that triggered
// the login does not apply, since other callers wait for the same login.
const loginTimeout = 30 * time.Second

// IdentityConfig configures the service's login. [trustee] of karbor.conf.
type IdentityConfig struct {
	AuthURL string
	// Options are the credentials and the scope. IdentityEndpoint is not used.
	Options gophercloud.AuthOptions
	// Project is the scope of the login if Options name none and the user has no
	// default project: an unscoped token has no roles and no catalogue.
	Project *gophercloud.AuthScope
}

// identity is the service's own login. All clients share its token, which is replaced
// when it is about to expire or was refused.
type identity struct {
	cfg  IdentityConfig
	http func() (http.RoundTripper, error)
	now  func() time.Time

	logins singleflight.Group
	log    logrus.FieldLogger

	mu      sync.Mutex
	token   string
	until   time.Time
	origins map[string]bool // servers in the catalogue; false is one that is not there, which has been logged
}

func newIdentity(cfg IdentityConfig, transport func() (http.RoundTripper, error), log logrus.FieldLogger) *identity {
	return &identity{cfg: cfg, http: transport, now: time.Now, log: log}
}

// hasEndpoint reports whether the catalogue of the last login has an endpoint at the
// server of u.
func (i *identity) hasEndpoint(u *url.URL) bool {
	origin := httpclient.Origin(u)
	i.mu.Lock()
	defer i.mu.Unlock()
	there, seen := i.origins[origin]
	if !seen {
		i.origins[origin] = false
		i.log.WithField("endpoint", origin).Warn("an endpoint in the catalogue of a request is not in the service's own: it gets no service token")
	}
	return there
}

// Token returns a valid token. refused is a token that a service has just answered with
// 401, or "": Token does not return it again.
func (i *identity) Token(ctx context.Context, refused string) (string, error) {
	if token := i.current(refused); token != "" {
		return token, nil
	}
	result := i.logins.DoChan("login", func() (any, error) {
		if token := i.current(refused); token != "" {
			return token, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginTimeout)
		defer cancel()
		return i.login(ctx)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (i *identity) current(refused string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.token == "" || i.token == refused || !i.now().Before(i.until) {
		return ""
	}
	return i.token
}

// login gets a new token. karbor: services/protection/client_factory.py
func (i *identity) login(ctx context.Context) (string, error) {
	transport, err := i.http()
	if err != nil {
		return "", fault.AuthorizationFailure("trustee").WithCause(err)
	}
	provider := &gophercloud.ProviderClient{HTTPClient: httpclient.New(transport)}
	provider.UserAgent.Prepend(UserAgent)
	client := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: versioned(i.cfg.AuthURL) + "/", Type: "identity"}
	options := i.cfg.Options // the library may fill in a scope
	result := tokens.Create(ctx, client, &options)
	if project, err := result.ExtractProject(); err == nil && project == nil && i.cfg.Options.Scope == nil && i.cfg.Project != nil {
		options = i.cfg.Options
		options.Scope = i.cfg.Project
		if scoped := tokens.Create(ctx, client, &options); scoped.Err == nil {
			result = scoped
		}
	}
	token, err := result.ExtractToken()
	if err != nil {
		return "", fault.AuthorizationFailure("trustee").WithCause(fmt.Errorf("logging in at %s: %w", i.cfg.AuthURL, err))
	}
	origins := map[string]bool{}
	// An unscoped token has no catalogue.
	if catalog, err := result.ExtractServiceCatalog(); err == nil {
		for _, service := range catalog.Entries {
			for _, endpoint := range service.Endpoints {
				// The host of an endpoint has no placeholders.
				if u, err := url.Parse(endpoint.URL); err == nil {
					origins[httpclient.Origin(u)] = true
				}
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.token, i.until, i.origins = token.ID, token.ExpiresAt.Add(-renewBefore), origins
	return token.ID, nil
}
