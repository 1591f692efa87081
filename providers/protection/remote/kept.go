// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// Kept is an item that a service keeps for a checkpoint, which knows it by its id.
type Kept struct {
	Kind  Kind
	Key   string // of the id in the metadata object of the bank, "backup_id"
	Whole string // the status of one that can be restored, "available"
	// Missing is what users are told about one that cannot be read, and Title what
	// it is called in the text about another status, "volume backup".
	Missing, Title string
}

// Look returns a look of a Verify that asks the service for the item.
func (k Kept) Look(client *Client) hook.Look {
	return func(ctx context.Context, c *protection.Call) (status, reason string, err error) {
		var about map[string]any
		if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
			return protection.StatusError, hook.Reason(err), err
		}
		service, err := client.For(ctx)
		if err != nil {
			return protection.StatusError, hook.Reason(err), err
		}
		id, _ := about[k.Key].(string)
		if id == "" {
			return protection.StatusError, "The metadata of the backup do not name it.", nil
		}
		item, err := service.Show(ctx, k.Kind, id)
		switch {
		case err != nil:
			return protection.StatusError, k.Missing, err
		case item.Status != k.Whole:
			return item.Status, fmt.Sprintf("The status of %s status is %s.", k.Title, item.Status), nil
		}
		return protection.StatusAvailable, "", nil
	}
}

// Usable returns why nothing can be restored of the item, nil if something can.
func (k Kept) Usable(ctx context.Context, client *Client, c *protection.Call) error {
	status, reason, err := k.Look(client)(ctx, c)
	if err != nil || status != protection.StatusAvailable {
		return &hook.Failure{Text: reason, Err: err}
	}
	return nil
}

// Begin returns what the hooks of a protect ask the service for: the backup, and
// after it what is temporary.
type Begin func(context.Context, *protection.Call) ([]*Request, error)

// Delete returns the work of a Delete: it deletes the item that the metadata name, if
// they do, and what a protect that was not finished has asked for.
func (k Kept) Delete(client *Client, begin Begin) hook.Removal {
	return func(ctx context.Context, c *protection.Call, was string) error {
		var about map[string]any
		if _, err := hook.Metadata(ctx, c, &about); err != nil {
			return err
		}
		if id, _ := about[k.Key].(string); id != "" {
			service, err := client.For(ctx)
			if err != nil {
				return err
			}
			if err := service.Delete(ctx, k.Kind, id); err != nil {
				return err
			}
		}
		if !hook.Unfinished(was) {
			return nil
		}
		requests, err := begin(ctx, c)
		if err != nil {
			return err
		}
		var failures []error
		for _, r := range requests {
			failures = append(failures, r.DeleteMatching(ctx))
		}
		return hook.Join(failures...)
	}
}

// Undo takes back what begin asks for, as far as it has come.
func (b Begin) Undo(ctx context.Context, c *protection.Call, _ string) error {
	requests, err := b(ctx, c)
	if err != nil {
		return err
	}
	var failures []error
	for _, r := range requests {
		failures = append(failures, r.Remove(ctx))
	}
	return hook.Join(failures...)
}

// RemarkUnkept remarks, under the aspect of a remark, attributes of a resource that no restore gives to the new one, as far
// as it has them: what is null, false or empty is nothing to miss.
func RemarkUnkept(c *protection.Call, is *Item, as remark.Remark, names ...string) error {
	var all map[string]any
	if err := is.Decode(&all); err != nil {
		return err
	}
	had := map[string]any{}
	for _, name := range names {
		switch value := all[name].(type) {
		case nil:
		case bool, string, float64:
			if !reflect.ValueOf(value).IsZero() {
				had[name] = value
			}
		default: // an object or a list
			if reflect.ValueOf(value).Len() > 0 {
				had[name] = value
			}
		}
	}
	if len(had) == 0 {
		return nil
	}
	text, err := json.Marshal(had)
	if err == nil {
		as.Was, as.Why = string(text), "a restore does not set them"
		c.Remark(as)
	}
	return err
}
