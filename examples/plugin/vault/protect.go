// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// metadata is the object of that name in the bank: all that a restore needs.
type metadata struct {
	Copy string `json:"copy_id"`
}

// copyID is the id of the copy of a resource for a checkpoint. It is made of their
// ids, so a hook that is run again, and one that cleans up after another, knows it
// without having to be told.
func copyID(c *protection.Call) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("karbor:"+c.Checkpoint.ID()+"/"+c.Resource.ID)).String()
}

// copy makes the copy and notes it in the bank.
func (p *Plugin) copy(ctx context.Context, c *protection.Call) error {
	tier, given := c.Parameters.String("tier")
	if !given {
		tier = "disk"
	}
	id := copyID(c)
	if err := p.vault.make(ctx, copies, id, map[string]string{"volume": c.Resource.ID, "tier": tier}, c.Report); err != nil {
		return hook.Instead("Vault could not copy the volume", err)
	}
	return c.Section.PutJSON(ctx, protection.MetadataKey, metadata{Copy: id})
}

// cleanCopy removes the copy of a protect that has failed. Its error is what users
// are told of what is left.
func (p *Plugin) cleanCopy(ctx context.Context, c *protection.Call, _ error) error {
	id := copyID(c)
	if err := p.vault.remove(ctx, copies, id); err != nil {
		return fmt.Errorf("copy %s is left behind: %w", id, err)
	}
	return nil
}

// remove deletes the copy. One whose protect had not been finished has no metadata.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	var about metadata
	found, err := hook.Metadata(ctx, c, &about)
	if err != nil {
		return err
	}
	if !found {
		if !hook.Unfinished(was) {
			return nil // nothing was ever made
		}
		about.Copy = copyID(c)
	}
	return p.vault.remove(ctx, copies, about.Copy)
}

// look asks Vault for the copy.
func (p *Plugin) look(ctx context.Context, c *protection.Call) (status, reason string, err error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return protection.StatusError, hook.Reason(err), err
	}
	var is item
	if err := p.vault.call(ctx, http.MethodGet, copies, about.Copy, nil, &is); err != nil {
		return protection.StatusError, hook.Reason(err), err
	}
	if is.Status != "ready" {
		return protection.StatusError, "The copy is " + is.Status + ".", nil
	}
	return protection.StatusAvailable, "", nil
}
