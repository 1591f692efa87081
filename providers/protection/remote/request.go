// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/hook"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// Request is a request for an item that is created once.
type Request struct {
	*Session
	Kind Kind
	// Marks become the item's metadata, by which it is recognized. A kind that has
	// none is recognized by Matches, from what Body gives it.
	Marks   Marks
	Matches func(*Item) bool
	// Query narrows the listing in which the item is looked for.
	Query url.Values
	// Body holds the properties of the item. Marks are added to its metadata, which
	// are Marks too if there are any.
	Body map[string]any
	// Called, unless it is empty, is the name that the item gets when it is ready, in place of
	// the one by which it is recognized till then.
	Called string
	// Ready are the statuses of an item that is finished or has failed.
	Ready poll.Statuses
	// Concede, unless it is nil, takes out of Body what the service has refused, with a
	// remark, or returns the error. Before anything was refused it is called with nil, and
	// takes out what would be.
	Concede func(ctx context.Context, refused error) error
	// Created is a part of the session's state.
	Created *Created
}

// uncertain reports whether there may be items that the state does not name.
func (r *Request) uncertain() bool { return r.Created.Uncertain || r.Call.State == nil }

// recognizes reports whether an item is the request's.
func (r *Request) recognizes(i *Item) bool {
	if r.Marks != nil {
		return r.Marks.on(i)
	}
	return r.Matches(i)
}

// Create creates the item once.
func (r *Request) Create(ctx context.Context) error {
	err := r.once(ctx)
	if err == nil || r.Concede == nil || protection.Handover(ctx, err) != nil {
		return err
	}
	if err := r.Concede(ctx, err); err != nil {
		return err
	}
	return r.once(ctx)
}

// Plan returns what the item is going to be, without what the service would refuse.
func (r *Request) Plan(ctx context.Context) (map[string]string, error) {
	if r.Concede != nil {
		if err := r.Concede(ctx, nil); err != nil {
			return nil, err
		}
	}
	words := hook.Words(r.Body)
	if r.Called != "" {
		words["name"] = r.Called
	}
	return words, nil
}

func (r *Request) once(ctx context.Context) error {
	r.Created.Uncertain = r.uncertain()
	return Once(ctx, r.Created, r.Save, func(ctx context.Context) ([]Created, error) {
		items, err := r.Find(ctx)
		found := make([]Created, len(items))
		for n, i := range items {
			found[n] = Created{ID: i.ID, Size: int(i.Size)}
		}
		return found, err
	}, r.create)
}

// AwaitReady waits until the item is finished. report, which may be nil, is told how
// far it is.
func (r *Request) AwaitReady(ctx context.Context, report func(percent int)) error {
	return r.Await(ctx, r.Kind, r.Created.ID, r.Ready, report)
}

func (r *Request) create(ctx context.Context) (Created, error) {
	body := maps.Clone(r.Body)
	if r.Marks != nil {
		metadata := Marks{}
		if given, ok := body["metadata"].(Marks); ok {
			maps.Copy(metadata, given)
		}
		maps.Copy(metadata, r.Marks)
		body["metadata"] = metadata
	}
	var answer map[string]*Item
	_, err := r.Post(ctx, r.ServiceURL(r.Kind.Collection), map[string]any{r.Kind.Member: body}, &answer, &gophercloud.RequestOpts{
		OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted},
	})
	if err != nil {
		return Created{}, fmt.Errorf("creating %s: %w", r.Kind.Member, err)
	}
	item := answer[r.Kind.Member]
	if item == nil || item.ID == "" {
		return Created{}, fmt.Errorf("the answer does not name the new %s", r.Kind.Member)
	}
	return Created{ID: item.ID, Size: int(item.Size)}, nil
}

// Find lists the items of the request.
func (r *Request) Find(ctx context.Context) ([]Item, error) {
	items, err := openstack.List[Item](ctx, r.ServiceClient, r.Kind.Listing, r.Kind.Collection, r.Query)
	return slices.DeleteFunc(items, func(i Item) bool { return !r.recognizes(&i) }), err
}

// DeleteDuplicates deletes what was created for the request besides the item that is
// kept, if that may be more than one. It is called when the item is ready.
func (r *Request) DeleteDuplicates(ctx context.Context) error {
	if !r.Created.Uncertain {
		return nil
	}
	items, err := r.Find(ctx)
	items = slices.DeleteFunc(items, func(i Item) bool { return i.ID == r.Created.ID })
	return r.deleteAll(ctx, items, err)
}

// Remove deletes what was created for the request, also without an answer, and waits
// until it is gone. Its error names what is left.
func (r *Request) Remove(ctx context.Context) error {
	switch {
	case r.uncertain(), r.Created.Asked && r.Created.ID == "":
		return r.DeleteMatching(ctx)
	case r.Created.ID == "":
		return nil
	}
	return r.deleteAll(ctx, []Item{{ID: r.Created.ID}}, nil)
}

// DeleteMatching deletes all items that are recognized as the request's, and the one
// that the state names, and waits until they are gone. Its error names what is left.
func (r *Request) DeleteMatching(ctx context.Context) error {
	items, err := r.Find(ctx)
	if id := r.Created.ID; id != "" && !slices.ContainsFunc(items, func(i Item) bool { return i.ID == id }) {
		items = append(items, Item{ID: id})
	}
	return r.deleteAll(ctx, items, err)
}

// deleteAll deletes items, also if their listing has failed with err.
func (r *Request) deleteAll(ctx context.Context, items []Item, err error) error {
	var left []string
	var failures []error
	if err != nil {
		left = append(left, fmt.Sprintf("a %s may be left behind: %s", r.Kind.Member, hook.Reason(err)))
		failures = append(failures, err)
	}
	for _, i := range items {
		if err := r.Delete(ctx, r.Kind, i.ID); err != nil {
			left = append(left, fmt.Sprintf("%s %s is left behind: %s", r.Kind.Member, i.ID, hook.Reason(err)))
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return &hook.Failure{Text: strings.Join(left, "; "), Err: errors.Join(failures...)}
}
