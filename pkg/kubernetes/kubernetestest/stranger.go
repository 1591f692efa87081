// SPDX-License-Identifier: Apache-2.0

package kubernetestest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/karbor-project/karbor/pkg/kubernetes/client"
)

// stranger is a header of calls by somebody who may do nothing.
const stranger = "X-Test-Stranger"

// Stranger returns a client of somebody who may do nothing.
func (c *Cluster) Stranger() *client.Client {
	return c.Wrapped(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set(stranger, "yes")
			return next.RoundTrip(r)
		})
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// forbid refuses a call about pods as RBAC does.
// kubernetes: apiserver/pkg/endpoints/handlers/responsewriters
func (c *Cluster) forbid(w http.ResponseWriter, r *http.Request) {
	// /api/v1/namespaces/NAMESPACE/pods[/NAME]
	parts := strings.Split(r.URL.Path, "/")
	verb := map[string]string{http.MethodGet: "list", http.MethodPost: "create", http.MethodDelete: "delete"}[r.Method]
	what := "pods"
	if len(parts) == 7 {
		what = fmt.Sprintf("pods %q", parts[6])
		if verb == "list" {
			verb = "get"
		}
	}
	status(w, http.StatusForbidden, "Forbidden",
		fmt.Sprintf("%s is forbidden: User \"stranger\" cannot %s resource \"pods\" in API group \"\" in the namespace %q", what, verb, parts[4]))
}
