// SPDX-License-Identifier: Apache-2.0

// Package vault protects Cinder's volumes by copies in Vault, a storage that was
// made up for this example. Its API lets the caller choose the ids of copies and of
// volumes, and a PUT may be repeated.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

const group = "vault_plugin"

// Options are read from the provider file.
var Options = []config.Option{
	{Group: group, Name: "url", Help: "Base URL of Vault."},
	{Group: group, Name: "token", Secret: true, Help: "Token to call Vault with."},
	{Group: group, Name: "poll_interval", Kind: config.Int, Default: 10, Min: config.Bound(1), Help: "Seconds between two looks at a copy."},
	{Group: group, Name: "poll_timeout", Kind: config.Int, Default: 86400, Min: config.Bound(0), Help: "Seconds after which a wait fails. 0 is never."},
}

// Config is the section of the provider file.
type Config struct {
	URL, Token                string
	PollInterval, PollTimeout time.Duration
}

// The schemas are what karbor-api and the dashboard show to users.
var schemas = protection.Schemas{
	Options: json.RawMessage(`{"title": "Vault Options", "type": "object", "properties": {
		"tier": {"type": "string", "title": "Tier", "description": "Where the copy is kept.", "enum": ["disk", "tape"], "default": "disk"}}, "required": []}`),
	Restore: json.RawMessage(`{"title": "Vault Restore", "type": "object", "properties": {
		"restore_name": {"type": "string", "title": "Restore Name", "description": "The name of the restored volume.", "default": null}}, "required": []}`),
	SavedInfo: json.RawMessage(`{"title": "Vault Saved Info", "type": "object", "properties": {}, "required": []}`),
	Verify:    json.RawMessage(`{"title": "Vault Verify", "type": "object", "properties": {}}`),
}

// frame has what the hooks of plugins have in common: parameters are checked,
// statuses written, failures put into words and cleaned up after.
var frame = hook.Frame{Title: "Vault Copy", Verified: "Vault copy", Schemas: schemas}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg   Config
	vault *client
	newID func() string
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin. Calls go through the transport.
func New(cfg Config, transport http.RoundTripper) *Plugin {
	return &Plugin{cfg: cfg, vault: newClient(cfg, transport), newID: uuid.NewString}
}

// Register adds the plugin to a registry, under the name by which provider files
// ask for it.
func Register(r *protection.Registry) {
	r.Register([]string{"example-vault-protection-plugin"}, Options, func(cfg *config.Config, _ protection.Deps) (protection.Plugin, error) {
		if cfg.String(group, "url") == "" {
			return nil, errors.New("option url in section [vault_plugin] is missing")
		}
		return New(Config{
			URL: cfg.String(group, "url"), Token: cfg.String(group, "token"),
			PollInterval: time.Duration(cfg.Int64(group, "poll_interval")) * time.Second,
			PollTimeout:  time.Duration(cfg.Int64(group, "poll_timeout")) * time.Second,
		}, guard.Transport(http.DefaultTransport)), nil
	})
}

// Types returns OS::Cinder::Volume.
func (*Plugin) Types() []string { return []string{resource.Volume} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one volume. The copy is made in the Main hook. To
// have the copies of a server's volumes be of one moment, PrepareFinish is the place
// to freeze them.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.copy, p.cleanCopy)}, nil // undone by Delete's hooks
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Verify:
		return &protection.Operation{Main: frame.Verify(p.look)}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

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
