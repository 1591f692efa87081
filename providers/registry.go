// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/karbor-project/karbor/pkg/fault"
)

// Registry holds the loaded providers. It is immutable and safe for concurrent use.
type Registry struct {
	byID    map[string]*Provider
	ids     []string // sorted
	leftOut []LeftOut
	notes   []Note
}

// LeftOut is a provider file that could not be loaded.
type LeftOut struct {
	File string // its name without the folder
	Err  error
}

// Note is a remark on a provider file that was loaded all the same.
type Note struct {
	File string // its name without the folder
	Text string
}

// Notes returns the remarks on the files, in the order of their names.
func (r *Registry) Notes() []Note { return r.notes }

// LeftOut returns the files that could not be loaded.
func (r *Registry) LeftOut() []LeftOut { return r.leftOut }

// NewRegistry makes a registry of the given providers; of two with one id the
// later counts.
func NewRegistry(all ...*Provider) *Registry {
	r := &Registry{}
	r.index(all)
	return r
}

func (r *Registry) index(all []*Provider) {
	r.byID = make(map[string]*Provider, len(all))
	for _, p := range all {
		r.byID[p.ID] = p
	}
	r.ids = slices.Sorted(maps.Keys(r.byID))
}

// Get returns the provider with the id, or ProviderNotFound.
func (r *Registry) Get(id string) (*Provider, error) {
	p, ok := r.byID[id]
	if !ok {
		return nil, fault.ProviderNotFound(id)
	}
	return p, nil
}

// All returns every provider in the order of their ids.
func (r *Registry) All() []*Provider {
	all := make([]*Provider, 0, len(r.ids))
	for _, id := range r.ids {
		all = append(all, r.byID[id])
	}
	return all
}

// ListOptions narrow a listing.
type ListOptions struct {
	// Marker is the id after which the listing starts. An unknown one is ignored.
	Marker string
	// Limit is the largest number of providers; 0 means all.
	Limit int
	// Filters are JSON values that members of View must equal. Names of other
	// members are ignored.
	Filters map[string]json.RawMessage
}

// List returns providers in the order of their ids.
// karbor: provider.py list_providers
func (r *Registry) List(o ListOptions) []*Provider {
	all := r.All()
	if i, found := slices.BinarySearch(r.ids, o.Marker); found {
		all = all[i+1:]
	}
	found := make([]*Provider, 0, len(all))
	for _, p := range all {
		if !p.matches(o.Filters) {
			continue
		}
		found = append(found, p)
		if o.Limit > 0 && len(found) == o.Limit {
			break
		}
	}
	return found
}

// matches compares whole values. A filter on the schema compares its JSON text
// without spaces.
func (p *Provider) matches(filters map[string]json.RawMessage) bool {
	for name, want := range filters {
		switch name {
		case "id":
			if !equalText(want, p.ID) {
				return false
			}
		case "name":
			if !equalText(want, p.Name) {
				return false
			}
		case "description":
			if !equalText(want, p.Description) {
				return false
			}
		case "extended_info_schema":
			if !equalJSON(want, p.schema) {
				return false
			}
		}
	}
	return true
}

func equalText(want json.RawMessage, have string) bool {
	var text *string
	return json.Unmarshal(want, &text) == nil && text != nil && *text == have
}

func equalJSON(a, b json.RawMessage) bool {
	canonicalA, errA := canonical(a)
	canonicalB, errB := canonical(b)
	return errA == nil && errB == nil && bytes.Equal(canonicalA, canonicalB)
}

// canonical orders the members of every object.
func canonical(text json.RawMessage) ([]byte, error) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// Close closes every provider.
func (r *Registry) Close() error {
	var errs []error
	for _, p := range r.All() {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
