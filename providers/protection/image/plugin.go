// SPDX-License-Identifier: Apache-2.0

// Package image protects Glance's images: their data are copied into the bank,
// and restored as a new image. With enable_server_snapshot, an image that a
// server was booted from is protected as a snapshot of that server instead, so that
// changes on its disk are kept.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/remark"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-image-protection-plugin",
	protection.ClassPrefix + "image.image_protection_plugin.GlanceProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Image Backup", Verified: "Image backup", Schemas: schemas}

// pieceSize is what the size of data objects is a multiple of: glanceclient's
// reads. karbor: services/protection/protection_plugins/image/image_protection_plugin.py
const pieceSize = 65536

const group = "image_backup_plugin"

// Options are read from the provider file.
var Options = slices.Concat(
	[]config.Option{{Group: group, Name: "backup_image_object_size", Kind: config.Int, Default: 10 * pieceSize, Help: "Bytes of one object of image data in the bank, a multiple of 65536."}},
	poll.ConfigOptions(group, "the status of an image or server", 10*time.Second, poll.Day),
	[]config.Option{{Group: group, Name: "enable_server_snapshot", Kind: config.Bool, Default: true, Help: "Protect a snapshot of the server in place of the image that it was booted from."}},
)

// Config is the section of the provider file.
type Config struct {
	poll.Config
	ObjectSize     int // bytes of one data object
	ServerSnapshot bool
}

// FromConfig reads Options.
func FromConfig(cfg *config.Config) Config {
	return Config{
		Config:         poll.FromConfig(cfg, group),
		ObjectSize:     cfg.Int(group, "backup_image_object_size"),
		ServerSnapshot: cfg.Bool(group, "enable_server_snapshot"),
	}
}

// Clients makes Glance and Nova clients for the caller of a context.
type Clients interface {
	Image(ctx context.Context) (*gophercloud.ServiceClient, error)
	Compute(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Glance::Image.
type Plugin struct {
	cfg     Config
	clients Clients
	glance  *imagedata.Client
	newID   func() string
	poll    poll.Options
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin. A wrong object size is the error of each Operation.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{
		cfg: cfg, clients: clients, glance: imagedata.NewClient(cfg.Config, clients.Image), newID: uuid.NewString,
		poll: poll.Options{Interval: cfg.PollInterval, Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Glance::Image.
func (*Plugin) Types() []string { return []string{resource.Image} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one image. In the original images cannot be
// copied, though all that is copied is in the bank.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	if p.cfg.ObjectSize <= 0 || p.cfg.ObjectSize%pieceSize != 0 {
		return nil, fault.InvalidParameterValue("The value of CONF.backup_image_object_size is invalid!")
	}
	switch kind {
	case protection.Protect:
		return p.operation(&protection.Operation{Main: frame.Protect(true, p.backUp, p.clean), Undo: frame.Delete(p.undoProtect)}, true), nil
	case protection.Restore:
		return p.operation(&protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore), Plan: frame.Plan(p.plan)}, false), nil
	case protection.Verify:
		return p.operation(&protection.Operation{Main: frame.Verify(hook.LookAtStatus("image", whole))}, false), nil
	case protection.Delete:
		return p.operation(&protection.Operation{Main: frame.Delete(imagedata.Purge)}, false), nil
	case protection.Copy:
		return p.operation(frame.Copy(imagedata.KnownObjects), false), nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// metadata is the JSON object of the same name in the bank, in the key order of
// the original. karbor: image_protection_plugin.py
type metadata struct {
	ResourceID string              `json:"resource_id"`
	ServerID   string              `json:"server_id,omitempty"`
	Image      *imagedata.Metadata `json:"image_metadata,omitempty"`
	Chunks     *imagedata.Count    `json:"chunks_num,omitempty"`
}

// protecting is what the hooks of a protect begin with.
type protecting struct {
	*imagedata.Glance
	plugin *Plugin
	call   *protection.Call
	// serverID is the server whose snapshot is protected in place of the image, "" if
	// it is the image itself.
	serverID string
	state    protectState
}

// protectState is what a second run of a protect knows of the first.
type protectState struct {
	// SnapshotID is the temporary image, if there was one.
	SnapshotID string `json:"snapshot_id,omitempty"`
	// Stored: data and metadata are in the bank, whole.
	Stored bool `json:"stored"`
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*protecting, error) {
	b := &protecting{plugin: p, call: c}
	if p.cfg.ServerSnapshot {
		b.serverID = serverOf(c.Resource.ExtraInfo)
	}
	var err error
	if b.Glance, err = p.glance.For(ctx); err != nil {
		return nil, err
	}
	return b, c.LoadState(ctx, &b.state)
}

// backUp copies the image, or a snapshot of its server, into the bank. Run again, it
// writes the same objects again, unless it had come to the last of them.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !b.state.Stored {
		if b.serverID != "" {
			err = b.snapshot(ctx)
		}
		if err == nil {
			err = b.store(ctx)
		}
		if err != nil {
			return err
		}
	}
	err = hook.Finish(ctx, b.dropSnapshot)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, fmt.Sprintf("the temporary image of server %s", b.serverID), err) // the backup is worth more
		return nil
	}
	return err
}

// store writes metadata, data, their manifest, and metadata with the number of data
// objects.
func (b *protecting) store(ctx context.Context) error {
	c, id := b.call, b.call.Resource.ID
	var temporary []string
	if b.serverID != "" {
		id, temporary = b.state.SnapshotID, b.call.Parameters.Names()
	}
	source, err := b.Active(ctx, id)
	if server := serverOf(c.Resource.ExtraInfo); server != "" && b.serverID == "" && hook.StatusOf(err) == poll.NotFound {
		return &hook.Failure{Text: fmt.Sprintf("The image that server %s was booted from was deleted, and enable_server_snapshot is off", server), Err: err}
	}
	if err != nil {
		return hook.Instead("The status of image is invalid.", err)
	}
	imagedata.RemarkUnkept(c, source, temporary...)
	b.remarkDisks()
	about := metadata{ResourceID: c.Resource.ID, ServerID: b.serverID, Image: &source.Metadata}
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	count, err := b.BackUp(ctx, c, source, b.plugin.cfg.ObjectSize)
	if err != nil {
		return err
	}
	about.Chunks = &count
	if err := c.Section.PutJSON(ctx, protection.MetadataKey, about); err != nil {
		return err
	}
	b.state.Stored = true
	return c.SaveState(ctx, b.state)
}

// remarkDisks remarks the servers whose disks are not protected, for they are not in the
// image that they were booted from.
func (b *protecting) remarkDisks() {
	if b.plugin.cfg.ServerSnapshot || b.call.Graph == nil {
		return
	}
	for _, node := range b.call.Graph.Nodes() {
		if node.Type == resource.Server && has(node, b.call.Resource.Key()) {
			b.call.Remark(remark.Remark{Aspect: "disk of a server", Was: "what server " + node.ID + " has written to its disk", Is: "the image that it was booted from",
				Why: "enable_server_snapshot is off"})
		}
	}
}

// clean removes the temporary image of a protect that has failed.
func (p *Plugin) clean(ctx context.Context, c *protection.Call, _ error) error {
	b, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	return b.dropSnapshot(ctx)
}

// undoProtect takes a protect back: the temporary image of a run that died, and
// what is in the bank.
func (p *Plugin) undoProtect(ctx context.Context, c *protection.Call, was string) error {
	if err := p.clean(ctx, c, nil); err != nil {
		return err
	}
	return imagedata.Purge(ctx, c, was)
}

// whole finds data objects that are missing or not what was written, which a
// status cannot tell.
func whole(ctx context.Context, c *protection.Call) error {
	var about metadata
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return fault.From(err)
	}
	if about.Chunks == nil || about.Image == nil {
		return errors.New("The metadata of the image backup is not complete.") //nolint:staticcheck // shown to users
	}
	return imagedata.LookAtData(ctx, c, *about.Chunks, about.Image.Checksum)
}

// Servers that were booted from one image share that image in the graph, but each
// has a disk of its own. The snapshot of the first one is the backup of the image,
// as in the original; those of the others lie beside it, as backups of
// imagedata.OfServer. The Python worker does not see them, and restores the first
// one's disk for all.

// each makes of a hook for one backup a hook for all of an image. A protect makes
// those that the graph asks for; other operations find what is in the bank.
func (p *Plugin) each(one protection.Hook, protects bool) protection.Hook {
	return func(ctx context.Context, c *protection.Call) error {
		others, err := p.others(ctx, c, protects)
		if err != nil {
			return err
		}
		calls := append([]*protection.Call{c}, others...)
		for i, call := range calls {
			if len(others) > 0 {
				call = part(call, c, i, len(calls))
			}
			calls[i] = call
			if err := one(ctx, call); err != nil {
				if c.NewResources != nil && protection.Handover(ctx, err) == nil {
					p.discard(ctx, calls[:i], err)
				}
				return err
			}
		}
		return nil
	}
}

// discard removes the images that a restore has made before it failed with err, as
// each does with its own: a restore that fails leaves nothing.
func (p *Plugin) discard(ctx context.Context, restored []*protection.Call, err error) {
	after, cancel := protection.Cleanup(ctx)
	defer cancel()
	for _, c := range restored {
		id, ok := c.NewResources.Get(c.Resource.ID)
		if !ok {
			continue // an Undo, which has no more to remove
		}
		problem := p.undoRestore(after, c)
		if problem == nil {
			problem = c.UpdateStatus(after, id, protection.StatusError, hook.Reason(err))
		}
		if problem != nil {
			c.Logger().Warnf("restored image %s may be left behind: %s", id, fault.Detail(problem))
		}
	}
}

// operation makes the hooks of an operation work on all backups of an image.
func (p *Plugin) operation(o *protection.Operation, protects bool) *protection.Operation {
	all := &protection.Operation{Main: p.each(o.Main, protects), Plan: o.Plan}
	if o.Undo != nil {
		all.Undo = p.each(o.Undo, false)
	}
	return all
}

// others returns the calls for all servers of the image but the first.
func (p *Plugin) others(ctx context.Context, c *protection.Call, protects bool) ([]*protection.Call, error) {
	first := serverOf(c.Resource.ExtraInfo)
	if first == "" || c.Graph == nil || protects && !p.cfg.ServerSnapshot {
		return nil, nil
	}
	var calls []*protection.Call
	for _, node := range c.Graph.Nodes() {
		if node.Type != resource.Server || node.ID == first || !has(node, c.Resource.Key()) {
			continue
		}
		call := *c
		call.Resource.ID = imagedata.OfServer(c.Resource.ID, node.ID)
		call.Resource.ExtraInfo = fmt.Appendf(nil, `{"server_id": %q}`, node.ID)
		section, err := c.Checkpoint.Section(call.Resource.ID)
		if err != nil {
			return nil, fmt.Errorf("section of %s: %w", call.Resource.Key(), err)
		}
		if !protects {
			_, err := section.GetText(ctx, protection.StatusKey)
			if errors.Is(err, bank.ErrNotFound) {
				continue // it was protected without snapshots, or by the original
			}
			if err != nil {
				return nil, err
			}
		}
		if call.Section = section; c.Copy != nil {
			if call.Section, err = c.Copy.Section(call.Resource.ID); err != nil {
				return nil, fmt.Errorf("section of %s: %w", call.Resource.Key(), err)
			}
		}
		calls = append(calls, &call)
	}
	return calls, nil
}

func has(node *resource.Node, child resource.Key) bool {
	for _, c := range node.Children {
		if c.Key() == child {
			return true
		}
	}
	return false
}

// part gives one of n backups its share of the state and of the progress of all.
func part(call, all *protection.Call, i, n int) *protection.Call {
	own := *call
	if all.State != nil {
		own.State = share{all.State, own.Resource.ID}
	}
	own.Progress = func(percent int) { all.Report((100*i + percent) / n) }
	return &own
}

// share is the part of a state that belongs to one backup.
type share struct {
	whole protection.State
	id    string
}

var _ protection.State = share{}

// Load implements protection.State.
func (s share) Load(ctx context.Context) (json.RawMessage, error) {
	all, err := s.all(ctx)
	return all[s.id], err
}

// Save implements protection.State.
func (s share) Save(ctx context.Context, document json.RawMessage) error {
	all, err := s.all(ctx)
	if err != nil {
		return err
	}
	all[s.id] = document
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return s.whole.Save(ctx, text)
}

func (s share) all(ctx context.Context) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	text, err := s.whole.Load(ctx)
	if err != nil || len(text) == 0 {
		return all, err
	}
	err = json.Unmarshal(text, &all)
	return all, err
}
