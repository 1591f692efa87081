// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// schemas are the texts that users of the original get, its "constraint", which
// JSON schema does not know, included.
// karbor: services/protection/protection_plugins/volume/volume_plugin_cinder_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Cinder Protection Options", "type": "object", "properties": {"backup_name": {"type": "string", "title": "Backup Name", "description": "The name of the backup.", "default": null}, "backup_mode": {"type": "string", "title": "Backup Mode", "description": "The backup mode.", "enum": ["full", "incremental"], "default": "full"}, "container": {"type": "string", "title": "Container", "description": "The container which been chosen.", "default": null}, "description": {"type": "string", "title": "Description", "description": "The description of the volume.", "default": null}, "force": {"type": "boolean", "title": "Force", "description": "Whether to backup, even if the volume is attached", "default": false}}, "required": ["backup_name", "backup_mode", "container", "force"]}`),
	Restore:   json.RawMessage(`{"title": "Cinder Protection Restore", "type": "object", "properties": {"volume_id": {"type": "string", "title": "Volume ID", "description": "The target volume ID to restore to.", "default": null}, "restore_name": {"type": "string", "title": "Restore Name", "description": "The name of the restored volume.", "default": null}, "restore_description": {"type": "string", "title": "Restore Description", "description": "The description of the restored volume.", "default": null}}}`),
	SavedInfo: json.RawMessage(`{"title": "Cinder Protection Saved Info", "type": "object", "properties": {"name": {"type": "string", "title": "Name", "description": "The name for this backup."}, "is_incremental": {"type": "boolean", "title": "Is Incremental", "description": "The type of the backup, True is incremental and False is full."}, "status": {"type": "string", "title": "Status", "description": "The backup status, such as available.", "enum": ["creating", "available", "deleting", "error", "restoring", "error_restoring"]}, "progress": {"type": "number", "title": "Progress", "description": "The current operation progress for this backup.", "constraint": {"min": 0, "max": 1}}, "fail_reason": {"type": "string", "title": "Fail Reason", "description": "The reason for the failure status of the backup."}, "size": {"type": "integer", "title": "Size", "description": "The size of the backup, in GB."}, "volume_id": {"type": "string", "title": "Volume ID", "description": "The ID of the volume from which the backup was created."}}, "required": ["name", "status", "progress", "fail_reason", "size", "volume_id"]}`),
	Verify:    json.RawMessage(`{"title": "Cinder Volume Verify", "type": "object", "properties": {}}`),
	Added:     volume.Added,
}
