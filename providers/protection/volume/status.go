// SPDX-License-Identifier: Apache-2.0

package volume

import "github.com/karbor-project/karbor/providers/protection/poll"

// Statuses that one waits for. Those that Cinder has had since the original are
// waited for if they end by themselves.
// cinder: objects/fields.py, karbor: protection_plugins/volume/*.py
var (
	// Usable are the statuses of a volume that can be backed up, or that was made.
	Usable = poll.Statuses{
		Success: []string{"available", "in-use", "error_extending", "error_restoring"},
		Failure: []string{
			"error", "error_deleting", "error_managing", "error_managing_deleting", "error_backing-up", "deleting", poll.NotFound,
		},
		Ignore: []string{
			"attaching", "creating", "backing-up", "restoring-backup", "detaching", "reserved", "downloading",
			"uploading", "extending", "retyping", "managing", "maintenance", "awaiting-transfer",
		},
	}
	// Created are the statuses of a new volume.
	Created = poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", "error_managing", "error_deleting", "deleting", poll.NotFound},
		Ignore:  []string{"creating", "downloading"},
	}
	// Taken are the statuses of a new snapshot.
	Taken = poll.Statuses{
		Success: []string{"available"},
		Failure: []string{"error", "error_deleting", "deleting", poll.NotFound},
		Ignore:  []string{"creating", "updating"},
	}
)
