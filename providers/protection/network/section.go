// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/providers/protection"
)

// located runs a hook on the section that holds the backup. The original wrote into the
// section of the caller's project, which differs from the resource when an administrator
// protected the topology of another project.
// karbor: neutron_protection_plugin.py
func located(hook protection.Hook) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error { return hook(ctx, locate(ctx, c)) }
}

// locate returns a call with the section in which the backup is.
func locate(ctx context.Context, c *protection.Call) *protection.Call {
	owner := c.Checkpoint.ProjectID()
	if c.Section == nil || owner == "" || owner == c.Resource.ID {
		return c
	}
	_, err := c.Section.GetText(ctx, protection.StatusKey)
	if !errors.Is(err, bank.ErrNotFound) {
		return c // whose hook meets the error too, if there is one
	}
	other, err := c.Checkpoint.Section(owner)
	if err != nil {
		return c
	}
	if _, err := other.GetText(ctx, protection.StatusKey); errors.Is(err, bank.ErrNotFound) {
		return c
	}
	moved := *c
	moved.Section = other
	return &moved
}
