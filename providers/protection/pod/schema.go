// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get, as they are.
// karbor: services/protection/protection_plugins/pod/pod_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Pod Protection Options", "type": "object", "properties": {}, "required": []}`),
	Restore:   json.RawMessage(`{"title": "Pod Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Pod Name", "description": "The name of the restore pod"}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Pod Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Pod Protection Verify", "type": "object", "properties": {}}`),
}
