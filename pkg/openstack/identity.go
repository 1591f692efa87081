// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"golang.org/x/sync/singleflight"

	"github.com/karbor-project/karbor/pkg/fault"
)

// renewBefore is how long before its end a service token is replaced, so that
// one that is just being sent does not expire on its way.
const renewBefore = 2 * time.Minute

// loginTimeout bounds one login at Keystone. It does not follow the caller that
// happened to need the token first, since others wait for the same.
const loginTimeout = 30 * time.Second

// IdentityConfig says how the service logs in. [trustee] of karbor.conf.
type IdentityConfig struct {
	AuthURL string
	// Options are the credentials and the scope. IdentityEndpoint is not used.
	Options gophercloud.AuthOptions
}

// identity is the service's own login. Its token is shared by all clients and
// replaced when it nears its end or was refused.
type identity struct {
	cfg  IdentityConfig
	http func() (http.RoundTripper, error)
	now  func() time.Time

	logins singleflight.Group
	mu     sync.Mutex
	token  string
	until  time.Time
}

func newIdentity(cfg IdentityConfig, transport func() (http.RoundTripper, error)) *identity {
	return &identity{cfg: cfg, http: transport, now: time.Now}
}

// Token returns a valid token. refused is a token that a service has just
// answered with 401, or "": it is not returned again.
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
	provider := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: transport}}
	provider.UserAgent.Prepend(UserAgent)
	client := &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: versioned(i.cfg.AuthURL) + "/", Type: "identity"}
	result := tokens.Create(ctx, client, &i.cfg.Options)
	token, err := result.ExtractToken()
	if err != nil {
		return "", fault.AuthorizationFailure("trustee").WithCause(fmt.Errorf("log in at %s: %w", i.cfg.AuthURL, err))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.token, i.until = token.ID, token.ExpiresAt.Add(-renewBefore)
	return token.ID, nil
}
