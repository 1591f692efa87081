// SPDX-License-Identifier: Apache-2.0

package volume

import (
	"net/http"

	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// The kinds, with the statuses in which Cinder deletes them.
// cinder: objects/fields.py, volume/api.py, backup/api.py
var (
	Volumes = kind("volume",
		[]string{"available", "error", "error_restoring", "error_extending", "error_managing"},
		[]string{
			"creating", "deleting", "attaching", "detaching", "reserved", "backing-up", "restoring-backup",
			"downloading", "uploading", "retyping", "extending", "managing", "maintenance",
		})
	Snapshots = kind("snapshot",
		[]string{"available", "error"},
		[]string{"creating", "deleting", "backing-up", "restoring", "updating"})
	Backups = kind("backup",
		[]string{"available", "error"},
		[]string{"creating", "deleting", "restoring"})
)

// kind describes one. A refused deletion may be tried again in the settled
// statuses; the busy ones end by themselves.
func kind(member string, settled, busy []string) remote.Kind {
	return remote.Kind{
		Progress: "os-extended-snapshot-attributes:progress", // of snapshots alone
		Service:  "cinder", Collection: member + "s", Listing: member + "s/detail", Member: member,
		Refusals: []int{http.StatusBadRequest},
		Settled:  poll.Statuses{Success: append([]string{poll.NotFound}, settled...), Ignore: busy},
		Going: poll.Statuses{
			Success: []string{poll.NotFound, "deleted"},
			Failure: []string{"error", "error_deleting"},
			Ignore:  []string{"deleting", "available"},
		},
	}
}
