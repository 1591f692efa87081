// SPDX-License-Identifier: Apache-2.0

package database

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/remote"
)

// restoreState is what a second run of a restore knows of the first.
type restoreState struct {
	Mark     string      `json:"mark,omitempty"` // this restore's own
	Instance remote.Made `json:"instance"`
}

// restoring is what a restore and its end begin with.
type restoring struct {
	*remote.Service
	state restoreState
	order remote.Order
}

// beginRestore finds the order of the new instance. An instance has nothing that
// could tell whose it is but its name: it is made under one of this restore's
// own, and gets that which the user wants when it is known by its id.
func (p *Plugin) beginRestore(ctx context.Context, c *protection.Call) (*restoring, error) {
	service, err := p.trove.For(ctx)
	if err != nil {
		return nil, err
	}
	r := &restoring{Service: service}
	if err := c.LoadState(ctx, &r.state); err != nil {
		return nil, err
	}
	if r.state.Mark == "" {
		r.state.Mark = "karbor-restore-" + p.newID() // saved before the instance is made
	}
	mark := r.state.Mark
	r.order = remote.Order{
		Kind: instances, Ours: func(i *remote.Item) bool { return i.Name == mark },
		Made: &r.state.Instance, Save: func() error { return c.SaveState(ctx, r.state) },
	}
	return r, nil
}

// bring makes a new instance of the backup and returns its id.
func (p *Plugin) bring(ctx context.Context, c *protection.Call) (string, error) {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return "", err
	}
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return "", err
	}
	if r.order.Body, err = body(r.state.Mark, about); err != nil {
		return "", err
	}
	if err := r.Make(ctx, c, r.order); err != nil {
		return r.state.Instance.ID, err
	}
	id := r.state.Instance.ID
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.Await(ctx, instances, id, usable, c.Report); err != nil {
		return id, hook.Instead("Invalid status.", err)
	}
	if err := r.Spare(ctx, r.order); err != nil {
		return id, err
	}
	return id, r.rename(ctx, id, name(c))
}

// body is the request for an instance. The original does not name the datastore,
// which works for backups of Trove's default one only.
// trove: POST /v1.0/{project}/instances
func body(mark string, about metadata) (map[string]any, error) {
	var flavor struct {
		ID json.RawMessage `json:"id"` // a number in old versions
	}
	var datastore struct {
		Type    string `json:"type,omitempty"`
		Version string `json:"version,omitempty"`
	}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{about.Flavor, &flavor}, {about.Datastore, &datastore}} {
		if len(part.text) == 0 {
			continue
		}
		if err := json.Unmarshal(part.text, part.into); err != nil {
			return nil, &hook.Failure{Text: "The metadata of the backup is not readable.", Err: err}
		}
	}
	request := map[string]any{"name": mark, "flavorRef": flavor.ID, "restorePoint": map[string]string{"backupRef": about.BackupID}}
	if about.Size != nil {
		request["volume"] = map[string]int{"size": *about.Size}
	}
	if datastore.Type != "" {
		request["datastore"] = datastore
	}
	return request, nil
}

func name(c *protection.Call) string {
	if name, ok := c.Parameters.String("restore_name"); ok && name != "" {
		return name
	}
	return c.Checkpoint.ID() + "@" + c.Resource.ID
}

// rename names an instance.
// trove: PATCH /v1.0/{project}/instances/{id}, in all versions
func (r *restoring) rename(ctx context.Context, id, name string) error {
	body := map[string]any{"instance": map[string]string{"name": name}}
	_, err := r.Patch(ctx, r.ServiceURL("instances", url.PathEscape(id)), body, nil, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent},
	})
	if err != nil {
		return fmt.Errorf("rename instance %s: %w", id, err)
	}
	return nil
}

func (p *Plugin) cleanRestore(ctx context.Context, c *protection.Call, _ error) error {
	return p.unrestore(ctx, c)
}

// unrestore deletes the new instance, as far as it has come.
func (p *Plugin) unrestore(ctx context.Context, c *protection.Call) error {
	r, err := p.beginRestore(ctx, c)
	if err != nil {
		return err
	}
	return r.Remove(ctx, c, r.order)
}
