// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/imagedata"
)

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
	after, cancel := protection.Aftermath(ctx)
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

// operation lets the hooks of an operation, which has no other ones, be for all
// backups of an image.
func (p *Plugin) operation(o *protection.Operation, protects bool) *protection.Operation {
	all := &protection.Operation{Main: p.each(o.Main, protects)}
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
