// SPDX-License-Identifier: Apache-2.0

package share

import (
	"net/http"

	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Statuses of shares and snapshots that one waits for. Those that Manila has had
// since the original are waited for if they end by themselves.
// manila: common/constants.py, karbor: share_snapshot_plugin.py
var (
	broken = []string{
		"error", "error_deleting", "deleting", "deleted", "extending_error", "shrinking_error",
		"shrinking_possible_data_loss_error", "reverting_error", "manage_error", "unmanage_error",
		"backup_restoring_error", "unmanaged", poll.NotFound,
	}
	passing = []string{
		"creating", "creating_from_snapshot", "reverting", "extending", "shrinking", "migrating", "migrating_to",
		"server_migrating", "replication_change", "restoring", "backup_creating", "backup_restoring", "manage_starting",
		"awaiting_transfer",
	}
	usable  = poll.Statuses{Success: []string{"available"}, Failure: broken, Ignore: passing}
	created = poll.Statuses{Success: []string{"available"}, Failure: broken, Ignore: []string{"creating", "creating_from_snapshot"}}
	taken   = poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", "error_deleting", "deleting", "deleted", "manage_error", "unmanage_error", poll.NotFound},
		Ignore:  []string{"creating", "restoring"},
	}
	going = poll.Statuses{
		Success: []string{poll.NotFound, "deleted"},
		Failure: []string{"error", "error_deleting"},
		Ignore:  []string{"deleting", "available"},
	}
)

// The kinds. A share or snapshot that is not in a status to be deleted in is
// refused with 403, 409 or, by some versions, 400.
// manila: share/api.py, api/v1/shares.py, api/v1/share_snapshots.py
var (
	shares = remote.Kind{
		Service: "manila", Collection: "shares", Listing: "shares/detail", Member: "share", Progress: "progress",
		Refusals: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict},
		Settled: poll.Statuses{
			Success: []string{"available", "error", "inactive", "manage_error", poll.NotFound},
			Ignore:  append([]string{"deleting"}, passing...),
		},
		Going: going,
	}
	snapshots = remote.Kind{
		Service: "manila", Collection: "snapshots", Listing: "snapshots/detail", Member: "snapshot", Progress: "progress",
		Refusals: []int{http.StatusBadRequest, http.StatusForbidden, http.StatusConflict},
		Settled: poll.Statuses{
			Success: []string{"available", "error", poll.NotFound},
			Ignore:  []string{"creating", "deleting", "restoring"},
		},
		Going: going,
	}
)
