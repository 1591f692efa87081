// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protection"
)

// whole finds what a restore would miss: parts of the metadata, and things that
// others in it refer to.
func whole(ctx context.Context, c *protection.Call) error {
	var about saved
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	if about.ResourceID == "" || about.Networks == nil || about.Subnets == nil || about.Ports == nil || about.Routers == nil || about.Groups == nil {
		return fmt.Errorf("The metadata of the network backup is not complete.") //nolint:staticcheck // shown to users
	}
	for id, p := range about.Ports {
		for _, ip := range p.FixedIPs {
			_, ours := about.Networks[p.NetworkID]
			if _, there := about.Subnets[ip.SubnetID]; ours && !there && !about.Networks[p.NetworkID].External {
				return fmt.Errorf("The metadata of the network backup lacks subnet %s of port %s.", ip.SubnetID, id) //nolint:staticcheck // shown to users
			}
		}
	}
	return nil
}
