// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get.
// karbor: services/protection/protection_plugins/network/network_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Network Protection Options", "type": "object", "properties": {}, "required": []}`),
	Restore:   json.RawMessage(`{"title": "Network Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Network Name", "description": "The name of the restore network"}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Network Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Network Protection Verify", "type": "object", "properties": {}}`),
}
