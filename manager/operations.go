// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// maxOperations bounds one listing, operationsPage what is held of it at a time: a reason
// may be long.
const (
	maxOperations  = 1000
	operationsPage = 100
)

// listOperations answers a list of operation.View, the newest first: those of
// the caller's project, or of all projects for an administrator that asks for
// them. A filter that is empty matches none.
func (m *Manager) listOperations(ctx context.Context, a *arguments) (any, error) {
	none := false
	filter := func(name string) string {
		text := a.text(name)
		none = none || text == "" && a.raw(name) != nil
		return text
	}
	f := journal.Filter{
		ProviderID:   filter("provider_id"),
		CheckpointID: filter("checkpoint_id"),
		Kind:         filter("operation_type"),
		Unfinished:   a.boolean("unfinished"),
		Marker:       a.text("marker"),
		Limit:        a.limit("limit"),
	}
	all := a.boolean("all_tenants")
	if err := a.done(); err != nil {
		return nil, err
	}
	if none {
		return rpc.Encoded("[]"), nil
	}
	if f.Limit <= 0 || f.Limit > maxOperations {
		f.Limit = maxOperations
	}
	caller := requestcontext.From(ctx)
	if !all || !caller.IsAdmin {
		f.ProjectID = caller.ProjectID
		if f.ProjectID == "" { // which to the journal is that of all
			return rpc.Encoded("[]"), nil
		}
	}
	list, left := m.listings.begin(), f.Limit
	defer list.done()
	for left > 0 {
		f.Limit = min(left, operationsPage)
		page, err := m.operations.Operations(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, view := range page {
			if err := list.add(view); err != nil {
				return nil, err
			}
			f.Marker = view.ID
		}
		if left -= len(page); len(page) < f.Limit {
			break
		}
	}
	return list.answer(), nil
}

// showOperation answers an operation.Detail.
func (m *Manager) showOperation(ctx context.Context, a *arguments) (any, error) {
	id := a.required("operation_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.accessibleOperation(ctx, id)
}

// cancelOperation asks for the end of an operation and answers null. It does
// not wait for it.
func (m *Manager) cancelOperation(ctx context.Context, a *arguments) (any, error) {
	id := a.required("operation_id")
	if err := a.done(); err != nil {
		return nil, err
	}
	if _, err := m.accessibleOperation(ctx, id); err != nil {
		return nil, err
	}
	return nil, m.operations.Cancel(ctx, id, callerName(requestcontext.From(ctx)))
}

// listWorkers answers a list of operation.Worker to an administrator: who the workers are
// is no tenant's business.
func (m *Manager) listWorkers(ctx context.Context, a *arguments) (any, error) {
	if err := a.done(); err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).IsAdmin {
		return nil, fault.NotAuthorized()
	}
	return m.operations.Workers(ctx)
}

// accessibleOperation hides the operations of other projects: their ids are not
// known to the caller.
func (m *Manager) accessibleOperation(ctx context.Context, id string) (*operation.Detail, error) {
	d, err := m.operations.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	if !requestcontext.From(ctx).CanAccess(d.ProjectID) {
		return nil, operation.NotFound(id)
	}
	return d, nil
}

// callerName is how a reason names who asked.
func callerName(c *requestcontext.RequestContext) string {
	if c.UserID != "" {
		return "user " + c.UserID
	}
	return "request " + c.RequestID
}
