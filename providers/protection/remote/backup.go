// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// Backup is an item that a service keeps for a checkpoint, which knows it by its id.
type Backup struct {
	Kind  Kind
	Key   string // of the id in the metadata object of the bank, "backup_id"
	Whole string // the status of one that can be restored, "available"
	// Missing is what users are told about one that cannot be read, and Title what
	// it is called in the text about another status, "volume backup".
	Missing, Title string
}

// id reads the item's id from the bank; it is "" if there is none.
func (b Backup) id(ctx context.Context, c *protection.Call) (string, error) {
	var about map[string]any
	if _, err := hook.Metadata(ctx, c, &about); err != nil {
		return "", err
	}
	id, _ := about[b.Key].(string)
	return id, nil
}

// Verify returns the hook of a Verify: it asks the service for the backup. title is
// the plugin's name in its error text.
func (g *Gate) Verify(title string, b Backup) protection.Hook {
	return hook.Verify(title, func(ctx context.Context, c *protection.Call) (status, reason string, err error) {
		return g.look(ctx, c, b)
	})
}

func (g *Gate) look(ctx context.Context, c *protection.Call, b Backup) (status, reason string, err error) {
	var about map[string]any
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return protection.StatusError, hook.Reason(err), err
	}
	service, err := g.For(ctx)
	if err != nil {
		return protection.StatusError, hook.Reason(err), err
	}
	id, _ := about[b.Key].(string)
	if id == "" {
		return protection.StatusError, "The metadata of the backup do not name it.", nil
	}
	item, err := service.Show(ctx, b.Kind, id)
	switch {
	case err != nil:
		return protection.StatusError, b.Missing, err
	case item.Status != b.Whole:
		return item.Status, fmt.Sprintf("The status of %s status is %s.", b.Title, item.Status), nil
	}
	return protection.StatusAvailable, "", nil
}

// Discard deletes the backup that the metadata name, if they do, and of a protect
// that was not finished what was made for orders. was is the status that the
// resource had before.
func (g *Gate) Discard(ctx context.Context, c *protection.Call, was string, b Backup, orders ...Order) error {
	id, err := b.id(ctx, c)
	if err != nil || id == "" && !hook.Unfinished(was) {
		return err
	}
	service, err := g.For(ctx)
	if err != nil {
		return err
	}
	if id != "" {
		if err := service.Delete(ctx, b.Kind, id); err != nil {
			return err
		}
	}
	if !hook.Unfinished(was) {
		return nil
	}
	var failures []error
	for _, o := range orders {
		failures = append(failures, service.Sweep(ctx, o))
	}
	return hook.Join(failures...)
}
