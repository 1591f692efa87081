// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Plugin protects resources of a service by backups that the service makes and keeps,
// and restores each as a new resource. M is the metadata object of the bank.
type Plugin[M any] struct {
	Type   string
	Frame  hook.Frame
	Client *Client

	// Source is the kind of the resources, Usable are the statuses of one that can be
	// backed up, and Unusable is what users are told about another.
	Source   Kind
	Usable   poll.Statuses
	Unusable string
	// Begin returns the requests for the backup and for what is temporary.
	Begin Begin
	// Describe returns the metadata of a backup that is about to be made. Note adds
	// the backup, when it is ready.
	Describe func(ctx context.Context, s *Session) (M, error)
	Note     func(about *M, backup *Created)
	// NoBackup words for users why the wait for the backup has failed.
	NoBackup func(ctx context.Context, backup *Request, err error) error
	Kept     Kept

	// BeginRestore returns the request for the new resource, and Fill its properties.
	BeginRestore func(context.Context, *protection.Call) (*Request, error)
	Fill         func(ctx context.Context, r *Request, about M) error
	// NotRestored words for users why the wait for the new resource has failed.
	NotRestored func(err error) error
	// Complete, unless it is nil, is called when the new resource is ready.
	Complete func(ctx context.Context, r *Request) error
}

// Types returns the type.
func (p *Plugin[M]) Types() []string { return []string{p.Type} }

// Schemas returns the schemas of the type.
func (p *Plugin[M]) Schemas(string) protection.Schemas { return p.Frame.Schemas }

// Operation returns the hooks for one resource. There is no Copy: the backup is in the
// service's keeping, and a second checkpoint that names the same one would lose it
// with the first.
func (p *Plugin[M]) Operation(kind protection.Kind, r resource.Resource) (*protection.Operation, error) {
	switch kind {
	case protection.Protect:
		clean := func(ctx context.Context, c *protection.Call, _ error) error { return p.Begin.Undo(ctx, c, "") }
		return &protection.Operation{Main: p.Frame.Protect(true, p.BackUp, clean), Undo: p.Frame.Delete(p.Begin.Undo)}, nil
	case protection.Restore:
		return &protection.Operation{Main: p.Frame.Restore(p.restore, p.undoRestore), Undo: p.Frame.UndoRestore(p.undoRestore), Plan: p.Frame.Plan(p.plan)}, nil
	case protection.Verify:
		return &protection.Operation{Main: p.Frame.Verify(p.Kept.Look(p.Client))}, nil
	case protection.Delete:
		return &protection.Operation{Main: p.Frame.Delete(p.Kept.Delete(p.Client, p.Begin))}, nil
	}
	return nil, fmt.Errorf("%s of %s: %w", kind, r.Key(), protection.ErrNoOperation)
}

// BackUp makes the backup and notes it in the bank.
func (p *Plugin[M]) BackUp(ctx context.Context, c *protection.Call) error {
	requests, err := p.Begin(ctx, c)
	if err != nil {
		return err
	}
	backup := requests[0]
	if !backup.Created.Asked {
		if err := backup.Await(ctx, p.Source, c.Resource.ID, p.Usable, nil); err != nil {
			return hook.Instead(p.Unusable, err)
		}
	}
	about, err := p.Describe(ctx, backup.Session)
	if err != nil {
		return err
	}
	if err := backup.Create(ctx); err != nil {
		return err
	}
	if err := backup.AwaitReady(ctx, c.Report); err != nil {
		return p.NoBackup(ctx, backup, err)
	}
	if err := backup.DeleteDuplicates(ctx); err != nil {
		return err
	}
	p.Note(&about, backup.Created)
	return c.Section.PutJSON(ctx, protection.MetadataKey, about)
}

// request returns the request for the new resource, filled.
func (p *Plugin[M]) request(ctx context.Context, c *protection.Call) (*Request, error) {
	var about M
	if err := c.Section.GetJSON(ctx, protection.MetadataKey, &about); err != nil {
		return nil, err
	}
	r, err := p.BeginRestore(ctx, c)
	if err != nil {
		return nil, err
	}
	return r, p.Fill(ctx, r, about)
}

// plan says what restore is going to ask for.
func (p *Plugin[M]) plan(ctx context.Context, c *protection.Call) (map[string]string, error) {
	if err := p.Kept.Usable(ctx, p.Client, c); err != nil {
		return nil, err
	}
	r, err := p.request(ctx, c)
	if err != nil {
		return nil, err
	}
	return r.Plan(ctx)
}

// restore makes a new resource of the backup and returns its id.
func (p *Plugin[M]) restore(ctx context.Context, c *protection.Call) (string, error) {
	r, err := p.request(ctx, c)
	if err != nil {
		return "", err
	}
	if err := r.Create(ctx); err != nil {
		return r.Created.ID, err
	}
	id := r.Created.ID
	if err := c.UpdateStatus(ctx, id, protection.StatusRestoring, ""); err != nil {
		return id, err
	}
	if err := r.AwaitReady(ctx, c.Report); err != nil {
		return id, p.NotRestored(err)
	}
	if err := r.DeleteDuplicates(ctx); err != nil || p.Complete == nil {
		return id, err
	}
	return id, p.Complete(ctx, r)
}

// undoRestore deletes the new resource, as far as it has come.
func (p *Plugin[M]) undoRestore(ctx context.Context, c *protection.Call) error {
	r, err := p.BeginRestore(ctx, c)
	if err != nil {
		return err
	}
	return r.Remove(ctx)
}
