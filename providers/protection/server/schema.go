// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"

	"github.com/karbor-project/karbor/providers/protection"
)

// schemas are the texts that users of the original get. The saved info of a server
// requires a property of another name than the one that it has.
// karbor: services/protection/protection_plugins/server/server_plugin_schemas.py
var schemas = protection.Schemas{
	Options:   json.RawMessage(`{"title": "Server Protection Options", "type": "object", "properties": {}, "required": []}`),
	Restore:   json.RawMessage(`{"title": "Server Protection Restore", "type": "object", "properties": {"restore_name": {"type": "string", "title": "Restore Server Name", "description": "The name of the restore server"}, "restore_net_id": {"type": "string", "title": "Restore Server Net Id", "description": "The net id of the restore server"}, "restore_flavor_id": {"type": "string", "title": "Restore Server Flavor Id", "description": "The flavor id of the restore server"}}, "required": ["restore_name"]}`),
	SavedInfo: json.RawMessage(`{"title": "Server Protection Saved Info", "type": "object", "properties": {"attach_metadata": {"type": "object", "title": "Attached Volume Metadata", "description": "The devices of attached volumes"}, "snapshot_metadata": {"type": "object", "title": "Snapshot Metadata", "description": "The metadata of snapshot"}}, "required": ["attached_metadata", "snapshot_metadata"]}`),
	Verify:    json.RawMessage(`{"title": "Server Protection Verify", "type": "object", "properties": {}}`),
	Added: map[string]protection.Property{
		"restore_networks": {Type: "string", Title: "Restore Server Networks",
			Description: "Ids or names of networks with commas between them, one for each network card of the server in its order. An empty one leaves the card where it was."},
		"restore_availability_zone": {Type: "string", Title: "Restore Server Availability Zone", Description: "The availability zone of the restore server"},
		"restore_key_name":          {Type: "string", Title: "Restore Server Key Pair", Description: "The name of the key pair of the restore server"},
		"restore_image_id": {Type: "string", Title: "Restore Server Image Id",
			Description: "The image that the restore server is booted from in place of the restored one. For servers that were booted from an image"},
	},
}
