// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"golang.org/x/sync/errgroup"

	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
)

// atATime is how many things of a kind are made at the same time.
const atATime = 4

// rebuild is one run of a restore.
type rebuild struct {
	*service
	call  *protection.Call
	about saved
	state restoreState
	// found is what the project had before this run, by collection, and there is
	// what an earlier run has made of that, by original id.
	found map[string][]item
	there map[string]item

	mu    sync.Mutex
	made  map[string]map[string]string // new ids by collection and original id
	kept  map[string]string
	steps int // to go through
	done  int
}

// order is something to be made.
type order struct {
	kind     kind
	original string
	name     string // for texts
	body     map[string]any
	// concessions change the body, one after the other, after it was refused: they
	// take out what the caller may lack the right to, or what is taken. Who made the order
	// compares what was made with it, for an earlier run may have conceded, and remarks.
	concessions []func(body map[string]any)
}

// without returns a concession that takes attributes out.
func without(names ...string) func(map[string]any) {
	return func(body map[string]any) {
		for _, name := range names {
			delete(body, name)
		}
	}
}

// make makes something unless an earlier run has, and waits until it is made.
func (r *rebuild) make(ctx context.Context, o order) (*item, error) {
	i, err := r.ask(ctx, o)
	if err == nil {
		err = r.await(ctx, o.kind, i)
	}
	if hook.Unfit(err) {
		return nil, &hook.Failure{Text: fmt.Sprintf("Create %s failed: %s %q is %s", o.kind.noun, o.kind.noun, o.name, hook.StatusOf(err)), Err: err}
	}
	if err != nil {
		return nil, err
	}
	r.note(o.kind, o.original, i.ID)
	return i, nil
}

func (r *rebuild) ask(ctx context.Context, o order) (*item, error) {
	if i, there := r.there[o.original]; there {
		return &i, nil
	}
	o.body["description"] = r.mark() + o.original
	refusal := ""
	i, err := r.post(ctx, o.kind, o.body)
	for _, concede := range o.concessions {
		if !refused(err) {
			break
		}
		before := len(o.body)
		if concede(o.body); len(o.body) == before {
			continue
		}
		refusal = hook.Reason(err)
		i, err = r.post(ctx, o.kind, o.body)
	}
	if err == nil {
		i.refusal = refusal
	}
	return i, err
}

// refused tells answers that say that nothing was made, since the caller lacks a
// right, or since something is in use, gone, or not what it was.
func refused(err error) bool {
	for _, code := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict} {
		if gophercloud.ResponseCodeIs(err, code) {
			return true
		}
	}
	return false
}

// note keeps a new id.
func (r *rebuild) note(k kind, original, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made[k.collection] == nil {
		r.made[k.collection] = map[string]string{}
	}
	r.made[k.collection][original] = id
}

// new returns the new id of a thing.
func (r *rebuild) new(k kind, original string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.made[k.collection][original]
	return id, ok
}

// count sets how many steps there are: to make and to finish each thing, and to set
// the rules of groups.
func (r *rebuild) count() {
	r.steps = 2*(len(r.about.Networks)+len(r.about.Subnets)+len(r.about.Routers)+len(r.about.Ports)) + 3*len(r.about.Groups)
}

// step reports one step more.
func (r *rebuild) step() {
	r.mu.Lock()
	r.done++
	percent := r.done * 100 / max(r.steps, 1)
	r.mu.Unlock()
	r.call.Report(percent)
}

// each does something for each thing of a map, a few at the same time.
func each[T any](ctx context.Context, r *rebuild, things map[string]T, do func(ctx context.Context, id string, t T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for _, id := range slices.Sorted(maps.Keys(things)) {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			defer r.step()
			return do(ctx, id, things[id])
		})
	}
	return group.Wait()
}

// put adds an attribute to a body if it is known.
func put[T any](body map[string]any, name string, value *T) {
	if value != nil {
		body[name] = *value
	}
}

// putJSON adds an attribute to a body as it was saved.
func putJSON(body map[string]any, name string, value []byte) {
	if len(value) > 0 && string(value) != "null" {
		body[name] = json.RawMessage(value)
	}
}
