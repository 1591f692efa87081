// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"encoding/json"

	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/rpc"
)

// statedProvider is a provider as version 1.1 shows it.
type statedProvider struct {
	providers.View
	Bank   string `json:"bank"`  // the name of the plugin
	State  string `json:"state"` // up or down: whether the bank has answered the last probe
	Reason string `json:"reason"`
}

// view is a provider as the version of the API shows it that was asked for.
func (m *Manager) view(a *arguments, p *providers.Provider) any {
	if a.original() {
		return rpc.Encoded(p.Encoded())
	}
	stated := statedProvider{View: p.View(), Bank: p.BankName, State: "up"}
	if err := m.bankError(p); err != nil {
		stated.State, stated.Reason = "down", fault.Detail(err)
	}
	return stated
}

// listProviders answers a list of providers.View, in the order of their ids, in version
// 1.1 of statedProvider.
// Sort arguments have no effect, as in the original.
func (m *Manager) listProviders(_ context.Context, a *arguments) (any, error) {
	a.spread("list_options")
	o := providers.ListOptions{Marker: a.text("marker"), Limit: a.limit("limit"), Filters: a.object("filters")}
	a.texts("sort_keys")
	a.texts("sort_dirs")
	if err := a.done(); err != nil {
		return nil, err
	}
	list := m.listings.begin()
	defer list.done()
	for _, p := range m.providers.List(o) {
		if err := list.add(m.view(a, p)); err != nil {
			return nil, err
		}
	}
	return list.answer(), nil
}

// showProvider answers a providers.View, in version 1.1 a statedProvider, or
// ProviderNotFound.
func (m *Manager) showProvider(_ context.Context, a *arguments) (any, error) {
	p, err := m.provider(a)
	if err != nil {
		return nil, err
	}
	if err := a.done(); err != nil {
		return nil, err
	}
	return m.view(a, p), nil
}

// provider finds the provider that the argument provider_id names. Whatever is
// no id of a provider gives ProviderNotFound, null too.
func (m *Manager) provider(a *arguments) (*providers.Provider, error) {
	value := a.raw("provider_id")
	var id string
	switch {
	case value == nil:
		return nil, fault.ProviderNotFound("None")
	case json.Unmarshal(value, &id) != nil:
		a.fail("provider_id", "a string", value)
		return nil, a.done()
	}
	return m.providers.Get(id)
}
