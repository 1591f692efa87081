// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// restoreState is what a second run of a restore knows of the first. A checkpoint
// may be restored more than once, so the id of the new volume is made up, and kept
// before Vault is asked for the volume.
type restoreState struct {
	Volume string `json:"volume"`
}

// restore makes a new volume of the copy and returns its id.
func (p *Plugin) restore(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	var state restoreState
	if err := c.LoadState(ctx, &state); err != nil {
		return "", err
	}
	if state.Volume == "" {
		state.Volume = p.newID()
		if err := c.SaveState(ctx, state); err != nil {
			return "", err
		}
	}
	name, given := c.Parameters.String("restore_name")
	if !given {
		name = c.Checkpoint.ID() + "@" + c.Resource.ID
	}
	if err := c.UpdateStatus(ctx, state.Volume, protection.StatusRestoring, ""); err != nil {
		return state.Volume, err
	}
	err := p.vault.make(ctx, volumes, state.Volume, map[string]string{"copy": about.Copy, "name": name}, c.Report)
	return state.Volume, hook.Instead("Vault could not make the volume", err)
}

// undoRestore deletes the new volume, as far as it has come.
func (p *Plugin) undoRestore(ctx context.Context, c *protection.Call) error {
	var state restoreState
	if err := c.LoadState(ctx, &state); err != nil || state.Volume == "" {
		return err // none was begun
	}
	if err := p.vault.remove(ctx, volumes, state.Volume); err != nil {
		return fmt.Errorf("volume %s is left behind: %w", state.Volume, err)
	}
	return nil
}
