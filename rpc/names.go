// SPDX-License-Identifier: Apache-2.0

package rpc

// contextNames are the names that the contexts of OpenStack's services have, each
// as the string that all requests can share.
// oslo.context: context.py RequestContext.to_dict; karbor: context.py
var contextNames = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"auth_token", "client_timeout", "domain", "domain_id", "domain_name", "global_request_id", "is_admin",
		"is_admin_project", "kwargs", "overwrite", "project", "project_domain", "project_domain_id",
		"project_domain_name", "project_id", "project_name", "quota_class", "read_deleted", "read_only",
		"remote_address", "request_id", "resource_uuid", "roles", "service_catalog", "service_project_domain",
		"service_project_id", "service_roles", "service_token", "service_user_id", "show_deleted",
		"system_scope", "tenant", "timestamp", "user", "user_auth_plugin", "user_domain", "user_domain_id",
		"user_domain_name", "user_id", "user_identity", "user_name", "auth_token_info",
	} {
		m[name] = name
	}
	return m
}()

// contextName is string(name) without an allocation for a usual name.
func contextName(name []byte) string {
	if shared, ok := contextNames[string(name)]; ok {
		return shared
	}
	return string(name)
}
