// SPDX-License-Identifier: Apache-2.0

package volumesnapshot

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get.
// karbor: services/protection/protection_plugins/volume/volume_snapshot_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Volume Snapshot Options", "type": "object", "properties": {"snapshot_name": {"type": "string", "title": "Snapshot Name", "description": "The name of the snapshot.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the volume."}, "force": {"type": "boolean", "title": "Force", "description": "Allows or disallows snapshot of a volume when the volume is attached to an instance.", "default": false}}, "required": ["snapshot_name", "force"]}`),
	Restore:   json.RawMessage(`{"title": "Volume snapshot Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Volume Name", "description": "The name of the restore volume", "default": null}, "restore_description": {"type": "string", "title": "Restore Description", "description": "The description of the restored volume.", "default": null}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Volume Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Volume snapshot Verify", "type": "object", "properties": {}}`),
}
