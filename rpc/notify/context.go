// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"

	"github.com/karbor-project/karbor/rpc"
)

// safe are the members of a request context that may leave the service. A token
// can hide under any other name.
// oslo.messaging: notify/notifier.py _sanitize_context; oslo.context: context.py
var safe = map[string]bool{
	"user_id": true, "project_id": true, "domain_id": true, "user_domain_id": true, "project_domain_id": true,
	"is_admin": true, "request_id": true, "roles": true, "user_name": true, "project_name": true,
	"domain_name": true, "user_domain_name": true, "project_domain_name": true, "service_user_id": true,
	"service_user_domain_id": true, "service_user_domain_name": true, "service_project_id": true,
	"service_project_name": true, "service_project_domain_id": true, "service_project_domain_name": true,
	"service_roles": true, "global_request_id": true, "system_scope": true,
	// Older names of the same.
	"user": true, "project": true, "domain": true, "user_domain": true, "project_domain": true,
	"user_identity": true, "tenant": true,
	// What a context of oslo.context has besides.
	"read_only": true, "show_deleted": true, "resource_uuid": true, "is_admin_project": true,
}

// token is sent as null when the context has one: listeners rebuild their context
// from the members, and miss an absent one.
const token = "auth_token"

// sanitize leaves of a request context what may be published.
func sanitize(c rpc.Context) rpc.Context {
	clean := make(rpc.Context, len(c))
	for name, value := range c {
		switch {
		case safe[name]:
			clean[name] = value
		case name == token:
			clean[name] = json.RawMessage("null")
		}
	}
	return clean
}
