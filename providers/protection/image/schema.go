// SPDX-License-Identifier: Apache-2.0

package image

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get, its mistakes included:
// "required" of the restore names no property, and "image" is no JSON type.
// karbor: services/protection/protection_plugins/image/image_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Image Protection Options", "type": "object", "properties": {"backup_name": {"type": "string", "title": "Backup Name", "description": "The name of the backup.", "default": null}}, "required": []}`),
	Restore:   json.RawMessage(`{"title": "Image Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Image Name", "description": "The name of the restore image"}}, "required": ["backup_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Image Protection Saved Info", "type": "object", "properties": {"image_metadata": {"type": "image", "title": "Image Metadata", "description": "To save disk_format and container_format"}}, "required": ["image_metadata"]}`),
	Verify:    json.RawMessage(`{"title": "Image Protection Verify", "type": "object", "properties": {}}`),
}
