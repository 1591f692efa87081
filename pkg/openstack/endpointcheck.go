// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/httpclient"
)

// endpointCheck refuses calls that do not go to the endpoint of their client, and paths
// that a service would interpret as another path. The ids in paths come from plans,
// parameters and banks, which tenants write.
type endpointCheck struct {
	origin string // of the endpoint
	next   http.RoundTripper
}

// IDError is the error of a call that was not made because an id in its path would
// have changed the path. No resource has such an id.
type IDError struct{ ID string }

func (e *IDError) Error() string {
	return fmt.Sprintf("%.80q is not an id that can stand in a URL", e.ID)
}

// RoundTrip makes the call, or returns an error if its URL is not allowed.
func (a *endpointCheck) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := a.check(req.URL); err != nil {
		closeBody(req)
		return nil, err
	}
	return a.next.RoundTrip(req)
}

func (a *endpointCheck) check(u *url.URL) error {
	if origin := httpclient.Origin(u); origin != a.origin {
		return fmt.Errorf("%s is not the endpoint %s of this client", origin, a.origin)
	}
	for _, segment := range strings.Split(u.EscapedPath(), "/") {
		name, err := url.PathUnescape(segment)
		// A service unescapes the path before it splits the path at slashes.
		if err != nil || name == "." || name == ".." || strings.ContainsAny(name, "/\\") || strings.ContainsFunc(name, unicode.IsControl) {
			return &IDError{ID: name}
		}
	}
	return nil
}

// maxProjectID is the width of a project's id in Keystone.
// keystone: resource/backends/sql_model.py Project
const maxProjectID = 64

// checkProject refuses a project id that would change more of the endpoint than its
// placeholder.
func checkProject(id string) error {
	odd := func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(id) > maxProjectID || strings.ContainsFunc(id, odd) {
		return fault.InvalidInput(fmt.Sprintf("project_id %.80q of the context is not the id of a project", id))
	}
	return nil
}
