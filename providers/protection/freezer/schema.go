// SPDX-License-Identifier: Apache-2.0

package freezer

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get.
// karbor: services/protection/protection_plugins/volume/volume_freezer_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Freezer Protection Options", "type": "object", "properties": {"backup_name": {"type": "string", "title": "Backup Name", "description": "The name of the backup.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the backup."}}, "required": ["backup_name"]}`),
	Restore:   json.RawMessage(`{"title": "Freezer Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Resource Name", "description": "The name of the restore resource ", "default": null}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Freezer Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
}
