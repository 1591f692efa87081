// SPDX-License-Identifier: Apache-2.0

// Package freezer protects Cinder's volumes by jobs of Freezer. A job is one task
// of a freezer-scheduler: to back up, to restore, or to remove what is old. It is
// made, started and waited for, and has no use afterwards.
package freezer

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
	"github.com/karbor-project/karbor/providers/protection/remote"
	"github.com/karbor-project/karbor/providers/protection/volume"
)

// Names are the names by which provider files select the plugin.
var Names = []string{
	"karbor-volume-freezer-plugin",
	protection.ClassPrefix + "volume.volume_freezer_plugin.FreezerProtectionPlugin",
}

// frame has the plugin's name in error texts.
var frame = hook.Frame{Title: "Freezer Backup FreezerTask", Schemas: schemas}

// Config is the section of the provider file.
type Config struct {
	poll.Config
	SchedulerID string // "": any
	Storage     Storage
}

// Clients makes Freezer and Cinder clients for the caller of a context.
type Clients interface {
	volume.Clients
	Backup(ctx context.Context) (*gophercloud.ServiceClient, error)
}

// Plugin protects OS::Cinder::Volume.
type Plugin struct {
	cfg     Config
	clients Clients
	cinder  *remote.Client
	polls   *poll.Batch
	poll    poll.Options
	newID   func() string
	pick    func(n int) int // one of n schedulers
}

var _ protection.Plugin = (*Plugin)(nil)

// New returns the plugin.
func New(cfg Config, clients Clients) *Plugin {
	return &Plugin{
		cfg:     cfg,
		clients: clients,
		cinder:  remote.NewClient(cfg.Config, clients.BlockStorage),
		polls:   poll.NewBatch(poll.BatchOptions{Interval: cfg.PollInterval}),
		poll:    poll.Options{Timeout: cfg.PollTimeout, Transient: openstack.IsTransient, Patience: 5},
		newID:   uuid.NewString,
		pick:    rand.IntN,
	}
}

// Register adds the plugin to a registry.
func Register(r *protection.Registry) {
	r.Register(Names, Options, func(cfg *config.Config, deps protection.Deps) (protection.Plugin, error) {
		return New(FromConfig(cfg), deps.Clients), nil
	})
}

// Types returns OS::Cinder::Volume.
func (*Plugin) Types() []string { return []string{resource.Volume} }

// Schemas returns the schemas of the type.
func (*Plugin) Schemas(string) protection.Schemas { return schemas }

// Operation returns the hooks for one volume. There is no Verify: Freezer has no
// job that looks at a backup. And no Copy: what a backup holds is in the keeping
// of Freezer's storage.
func (p *Plugin) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		return &protection.Operation{Main: frame.Protect(true, p.backUp, p.cleanBackUp), Undo: frame.Delete(p.undoProtect)}, nil
	case protection.Restore:
		return &protection.Operation{Main: frame.Restore(p.restore, p.undoRestore), Undo: frame.UndoRestore(p.undoRestore)}, nil
	case protection.Delete:
		return &protection.Operation{Main: frame.Delete(p.remove)}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// backUp runs the job of a backup and notes it in the bank.
func (p *Plugin) backUp(ctx context.Context, c *protection.Call) error {
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if !s.state.Done {
		if s.state.ClientID == "" {
			if s.state.ClientID, err = s.scheduler(ctx); err != nil {
				return err
			}
		}
		info := p.cfg.Storage.info(c, s.state.ClientID)
		document, err := p.document(info)
		if err != nil {
			return err
		}
		if err := s.run(ctx, &s.state.Job, document, info.Description, backupAction); err != nil {
			return err
		}
		text, err := json.Marshal(info)
		if err != nil {
			return err
		}
		if err := c.Section.PutJSON(ctx, protection.MetadataKey, metadata{JobID: s.state.Job.ID, Job: text}); err != nil {
			return err
		}
		s.state.Done = true
		if err := s.save(); err != nil {
			return err
		}
	}
	return s.finish(ctx, c)
}

// finish removes the job of an operation that has succeeded, which matters more.
func (s *session) finish(ctx context.Context, c *protection.Call) error {
	err := s.end(ctx, s.state.Job.ID)
	if err != nil && ctx.Err() == nil && protection.Handover(ctx, err) == nil {
		hook.RemarkLeft(c, "the job of Freezer", err)
		return nil
	}
	return err
}

// document is what the job of a backup is made from, secrets included.
func (p *Plugin) document(info jobInfo) (map[string]any, error) {
	text, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	var document map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	return derived(document, backupAction, p.cfg.Storage)
}

func (p *Plugin) cleanBackUp(ctx context.Context, c *protection.Call, _ error) error {
	return p.undoProtect(ctx, c, "")
}

// undoProtect takes a protect back, as far as it has come.
func (p *Plugin) undoProtect(ctx context.Context, c *protection.Call, _ string) error {
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	j, err := s.earlier(ctx, &s.state.Job, backupAction)
	switch {
	case err != nil:
		return err
	case j != nil:
		return s.retire(ctx, j)
	case !s.state.Done:
		return nil
	}
	info := p.cfg.Storage.info(c, s.state.ClientID)
	document, err := p.document(info)
	if err != nil {
		return err
	}
	return s.removeBackup(ctx, document, info.Description)
}

// remove deletes the backup that the metadata tells of, if there is any, and that
// of a protect that was not finished.
func (p *Plugin) remove(ctx context.Context, c *protection.Call, was string) error {
	var about metadata
	found, err := hook.Metadata(ctx, c, &about)
	if err != nil || !found && !hook.Unfinished(was) {
		return err
	}
	s, err := p.begin(ctx, c)
	if err != nil {
		return err
	}
	if found {
		document, text, err := about.document()
		if err != nil {
			return err
		}
		if err := s.removeBackup(ctx, document, text); err != nil {
			return err
		}
	}
	if !hook.Unfinished(was) {
		return nil
	}
	container := p.cfg.Storage.container(c)
	jobs, err := s.find(ctx, func(j *job) bool { return j.does(backupAction, c.Resource.ID, container) })
	failures := []error{err}
	for _, j := range jobs {
		failures = append(failures, s.retire(ctx, &j))
	}
	return hook.Join(failures...)
}

// document returns the job of a backup as the bank has it, and its description.
func (m *metadata) document() (map[string]any, string, error) {
	var document map[string]any
	if err := json.Unmarshal(m.Job, &document); err != nil || len(document) == 0 {
		return nil, "", &hook.Failure{Text: "The content of freezer job is invalid.", Err: err}
	}
	description, _ := document["description"].(string)
	return document, description, nil
}

func (p *Plugin) api(ctx context.Context) (*api, error) {
	client, err := p.clients.Backup(ctx)
	if err != nil {
		return nil, err
	}
	a := &api{ServiceClient: client, plugin: p, project: requestcontext.From(ctx).ProjectID}
	root := client.Endpoint
	if a.project != "" {
		root = strings.TrimSuffix(root, a.project+"/") // a configured endpoint has it
	}
	two, err := a.hasVersionTwo(ctx, root)
	if err != nil {
		return nil, err
	}
	if two {
		a.base = root + "v2/" + a.project + "/"
	} else {
		a.base, a.slash = client.Endpoint+"v1/", "/"
	}
	return a, nil
}

func (p *Plugin) begin(ctx context.Context, c *protection.Call) (*session, error) {
	api, err := p.api(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{api: api}
	if err := c.LoadState(ctx, &s.state); err != nil {
		return nil, err
	}
	if s.state.Mark == "" {
		s.state.Mark = p.newID()
	}
	if c.State == nil {
		s.state.Job.Uncertain, s.state.Removal.Uncertain = true, true
	}
	s.save = func() error { return c.SaveState(ctx, s.state) }
	return s, nil
}
