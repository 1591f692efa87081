// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// look asks Manila for the snapshot.
func (p *Plugin) look(ctx context.Context, c *protection.Call) (status, reason string, err error) {
	var about metadata
	err = c.Section.GetJSON(ctx, protection.MetadataKey, &about)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	service, err := p.manila.For(ctx)
	if err != nil {
		return protection.StatusError, volume.Reason(err), err
	}
	snapshot, err := service.Show(ctx, snapshots, about.SnapshotID)
	switch {
	case err != nil:
		return protection.StatusError, "Getting share snapshot fails.", err
	case snapshot.Status != "available":
		return snapshot.Status, fmt.Sprintf("The status of share snapshot status is %s.", snapshot.Status), nil
	}
	return protection.StatusAvailable, "", nil
}
