// SPDX-License-Identifier: Apache-2.0

package share

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get, the words about volumes included.
// karbor: services/protection/protection_plugins/share/share_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Share Protection Options", "type": "object", "properties": {"snapshot_name": {"type": "string", "title": "Snapshot Name", "description": "The name of the snapshot.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the volume."}, "force": {"type": "boolean", "title": "Force", "description": "Whether to backup, even if the volume is attached", "default": false}}, "required": ["snapshot_name", "force"]}`),
	Restore:   json.RawMessage(`{"title": "Share Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Share Name", "description": "The name of the restore share", "default": null}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Share Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Share snapshot Verify", "type": "object", "properties": {}}`),
}
