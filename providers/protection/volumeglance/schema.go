// SPDX-License-Identifier: Apache-2.0

package volumeglance

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// schemas are the texts that users of the original get.
// karbor: services/protection/protection_plugins/volume/volume_glance_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Volume Glance Protection Options", "type": "object", "properties": {"backup_name": {"type": "string", "title": "Backup Name", "description": "The name of the backup.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the backup."}}, "required": ["backup_name"]}`),
	Restore:   json.RawMessage(`{"title": "Volume Glance Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Resource Name", "description": "The name of the restore resource ", "default": null}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Volume Glance Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Volume Glance Protection Verify", "type": "object", "properties": {}}`),
	Added:     volume.Added,
}
