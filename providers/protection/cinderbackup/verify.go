// SPDX-License-Identifier: Apache-2.0

package cinderbackup

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// look asks Cinder for the backup.
func (p *Plugin) look(ctx context.Context, c *protection.Call) (status, reason string, err error) {
	var about metadata
	err = c.Section.GetJSON(ctx, protection.MetadataKey, &about)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	service, err := p.cinder.For(ctx)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	backup, err := service.Show(ctx, volume.Backups, about.BackupID)
	switch {
	case err != nil:
		return protection.StatusError, "Error getting volume backup.", err
	case backup.Status != "available":
		return backup.Status, fmt.Sprintf("The status of volume backup status is %s.", backup.Status), nil
	}
	return protection.StatusAvailable, "", nil
}
