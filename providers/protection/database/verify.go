// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// look asks Trove for the backup.
func (p *Plugin) look(ctx context.Context, c *protection.Call) (status, reason string, err error) {
	var about metadata
	err = c.Section.GetJSON(ctx, protection.MetadataKey, &about)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	service, err := p.trove.For(ctx)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	backup, err := service.Show(ctx, backups, about.BackupID)
	switch {
	case err != nil:
		return protection.StatusError, "Getting database backup fails.", err
	case backup.Status != "COMPLETED":
		return backup.Status, fmt.Sprintf("The status of database backup status is %s.", backup.Status), nil
	}
	return protection.StatusAvailable, "", nil
}
