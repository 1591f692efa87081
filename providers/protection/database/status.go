// SPDX-License-Identifier: Apache-2.0

package database

import (
	"net/http"

	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// Statuses of instances and backups that one waits for. Some versions of Trove
// say HEALTHY for an instance that others call ACTIVE. What ends by itself is
// waited for, also where the original gave up.
// trove: instance/models.py, backup/state.py, karbor: database_backup_plugin.py
var (
	usable = poll.Statuses{
		Success: []string{"ACTIVE", "HEALTHY"},
		Failure: []string{"BLOCKED", "FAILED", "SHUTDOWN", "ERROR", "RESTART_REQUIRED", poll.NotFound},
		Ignore: []string{
			"BUILD", "RESIZE", "BACKUP", "PROMOTE", "UPGRADE", "REBOOT", "EJECT", "DETACH", "LOGGING",
		},
	}
	taken = poll.Statuses{
		Success:          []string{"COMPLETED"},
		Failure:          []string{"FAILED", "DELETE_FAILED", poll.NotFound},
		Ignore:           []string{"NEW", "BUILDING", "SAVING"},
		IgnoreUnexpected: true,
	}
)

// The kinds. Trove refuses with 422 to delete what it is at work on. A backup
// keeps its status while it is deleted, and so does an instance in error.
// trove: backup/models.py, instance/models.py
var (
	instances = remote.Kind{
		Service: "trove", Collection: "instances", Listing: "instances", Member: "instance",
		Refusals: []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity},
		Settled: poll.Statuses{
			Success: []string{"ACTIVE", "HEALTHY", "BLOCKED", "FAILED", "SHUTDOWN", "ERROR", "RESTART_REQUIRED", poll.NotFound},
			Ignore:  usable.Ignore,
		},
		Going: poll.Statuses{Success: []string{poll.NotFound}, Ignore: []string{"SHUTDOWN"}, IgnoreUnexpected: true},
	}
	backups = remote.Kind{
		Service: "trove", Collection: "backups", Listing: "backups", Member: "backup",
		Refusals: []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity},
		Settled: poll.Statuses{
			Success: []string{"COMPLETED", "FAILED", "DELETE_FAILED", "RESTORED", poll.NotFound},
			Ignore:  taken.Ignore,
		},
		Going: poll.Statuses{Success: []string{poll.NotFound}, Failure: []string{"DELETE_FAILED"}, IgnoreUnexpected: true},
	}
)
