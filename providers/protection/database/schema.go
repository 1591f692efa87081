// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get, as they are.
// karbor: services/protection/protection_plugins/database/database_instance_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Database Instance Protection Options", "type": "object", "properties": {"backup_name": {"type": "string", "title": "Backup Name", "description": "The name of the backup.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the backup."}}, "required": ["backup_name"]}`),
	Restore:   json.RawMessage(`{"title": "Database Instance Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Database Instance Name", "description": "The name of the restore Database Instance", "default": null}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Database Instance Protection Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Database backup Verify", "type": "object", "properties": {}}`),
	Added: map[string]protection.Property{
		"restore_flavor_id":         {Type: "string", Title: "Restore Flavor Id", Description: "The flavor of the restore Database Instance"},
		"restore_net_id":            {Type: "string", Title: "Restore Net Id", Description: "The network of the restore Database Instance"},
		"restore_availability_zone": {Type: "string", Title: "Restore Availability Zone", Description: "The availability zone of the restore Database Instance"},
		"restore_volume_type":       {Type: "string", Title: "Restore Volume Type", Description: "The type of the volume of the restore Database Instance"},
	},
}
