// SPDX-License-Identifier: Apache-2.0

// Package identity determines the caller: it logs in to Keystone with the
// credentials of the environment or of clouds.yaml, and makes the request
// context that karbor-api would have sent. Without credentials the caller is
// anonymous, which serves plugins that do not talk to a cloud.
package identity

import (
	"context"
	"errors"
	"strings"

	"github.com/karbor-project/karbor/pkg/requestcontext"
)

// Anonymous is the id of the project and of the user without credentials, the
// text "karborctl" in hexadecimal digits. It has the form of Keystone's ids and
// is nobody's.
const Anonymous = "6b6172626f7263746c00000000000000"

// Options say whose credentials to use.
type Options struct {
	// Cloud is an entry of clouds.yaml; empty means what Getenv has.
	Cloud string
	// Project and User are ids for a caller without credentials; empty means
	// Anonymous.
	Project, User string
	// Admin makes a caller without credentials an administrator.
	Admin bool
	// Getenv looks up OS_CLOUD and the other variables of OpenStack.
	Getenv func(string) string
}

// Mistake is an error that other flags, variables or files mend.
type Mistake struct{ error }

// Unwrap returns the underlying error.
func (m Mistake) Unwrap() error { return m.error }

var errClash = errors.New("--project, --user and --admin are for callers without credentials, but there are some " +
	"(--os-cloud, OS_CLOUD or OS_AUTH_URL); OS_AUTH_TYPE=none ignores those of the environment")

// HasCredentials reports whether there is somebody to log in as.
func (o Options) HasCredentials() bool {
	if o.Cloud != "" {
		return true
	}
	return o.Getenv("OS_AUTH_TYPE") != "none" && (o.Getenv("OS_CLOUD") != "" || o.Getenv("OS_AUTH_URL") != "")
}

// Resolve makes the request context, with a fresh request id. It talks to
// Keystone if there are credentials. Its error is a Mistake, or the error of the login.
func Resolve(ctx context.Context, o Options) (*requestcontext.RequestContext, error) {
	if !o.HasCredentials() {
		return o.anonymous(), nil
	}
	if o.Project != "" || o.User != "" || o.Admin {
		return nil, Mistake{errClash}
	}
	chosen, err := o.chosen()
	if err != nil {
		return nil, Mistake{err}
	}
	if strings.EqualFold(chosen.kind(), "none") {
		return o.anonymous(), nil // there is no Keystone to ask
	}
	credentials, err := chosen.credentials(o)
	if err != nil {
		return nil, Mistake{err}
	}
	return credentials.login(ctx)
}

func (o Options) anonymous() *requestcontext.RequestContext {
	c := &requestcontext.RequestContext{
		UserID: o.User, ProjectID: o.Project, IsAdmin: o.Admin, Roles: []string{"member"},
		RequestID: requestcontext.NewRequestID(),
	}
	if c.UserID == "" {
		c.UserID = Anonymous
	}
	if c.ProjectID == "" {
		c.ProjectID = Anonymous
	}
	if c.IsAdmin {
		c.Roles = []string{roleAdmin}
	}
	return c
}

// chosen reads the entry of clouds.yaml that is named, or the OS_* variables. A name
// comes before the variables, as in the openstack client.
func (o Options) chosen() (*entry, error) {
	name := o.Cloud
	if name == "" {
		name = o.Getenv("OS_CLOUD")
	}
	if name != "" {
		return o.cloud(name)
	}
	return o.entry("of the OS_* variables", envCloud, o.environment())
}

// environment makes an entry of the OS_* variables, so that both ways of naming a cloud
// end in one.
func (o Options) environment() map[string]any {
	cloud := map[string]any{}
	keys := append([]string{"auth_type", "cacert", "cert", "key", "insecure", "verify", "region_name", "auth_token",
		"tenant_id", "tenant_name", "user_name", "userid"}, authKeys...)
	for _, key := range keys {
		if value := o.Getenv("OS_" + strings.ToUpper(key)); value != "" {
			cloud[key] = value
		}
	}
	if id, ok := cloud["userid"]; ok {
		cloud["user_id"] = id
	}
	return cloud
}
