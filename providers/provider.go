// SPDX-License-Identifier: Apache-2.0

// Package providers keeps the providers of an installation: each a bank and the
// plugins that back resources up into it, as an ini file in providers.d says.
package providers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/providers/protection"
)

// Provider is one loaded provider. It is immutable and safe for concurrent use.
type Provider struct {
	ID          string
	Name        string
	Description string
	// BankName is the name of the bank plugin in the provider file.
	BankName    string
	Checkpoints *checkpoint.Collection

	bank    *bank.Bank
	plugins map[string]protection.Plugin
	types   []string // in the order in which plugins first named them
	unfit   map[string]string
	schema  json.RawMessage
	full    json.RawMessage // the schema with all parameters
	encoded json.RawMessage // the View
}

// Definition is what a provider is made of.
type Definition struct {
	ID          string
	Name        string
	Description string
	// Plugins are in the order of the provider file: for a type that two of them
	// serve, the later one counts.
	Plugins []protection.Plugin
	Bank    *bank.Bank
	// BankName is what users are told of the bank.
	BankName string
	// OnUnfit says by type what becomes of resources that cannot be protected as they are,
	// "" by all others: Fail or LeaveOut.
	OnUnfit map[string]string
	// Checkpoints are the options of the provider's checkpoint collection.
	Checkpoints checkpoint.Options
}

// New makes a provider. It owns the bank from then on.
func New(d Definition) (*Provider, error) {
	p := &Provider{
		ID: d.ID, Name: d.Name, Description: d.Description, BankName: d.BankName,
		bank: d.Bank, unfit: d.OnUnfit, plugins: map[string]protection.Plugin{},
	}
	for _, plugin := range d.Plugins {
		if err := p.addPlugin(plugin); err != nil {
			return nil, err
		}
	}
	var err error
	if p.schema, err = p.buildSchema(func(_ string, s protection.Schemas) protection.Schemas { return s }); err != nil {
		return nil, err
	}
	if p.full, err = p.buildSchema(withAdded); err != nil {
		return nil, err
	}
	if p.encoded, err = json.Marshal(p.View()); err != nil {
		return nil, fmt.Errorf("encode the provider: %w", err)
	}
	p.Checkpoints = checkpoint.NewCollection(d.Bank, d.ID, d.Checkpoints)
	return p, nil
}

// View is a provider as list_providers and show_provider answer it.
type View struct {
	ID                 string          `json:"id"`
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	ExtendedInfoSchema json.RawMessage `json:"extended_info_schema"`
}

// View returns the provider's public form.
func (p *Provider) View() View {
	return View{ID: p.ID, Name: p.Name, Description: p.Description, ExtendedInfoSchema: p.schema}
}

// FullView returns the provider's public form with the parameters that the original does
// not have.
func (p *Provider) FullView() View {
	v := p.View()
	v.ExtendedInfoSchema = p.full
	return v
}

// withAdded adds to the schemas of a type what the original's lack.
func withAdded(resourceType string, s protection.Schemas) protection.Schemas {
	s.Restore = s.Restoring()
	if slices.Contains(protectable.Judged(), resourceType) {
		s.Options = protection.With(s.Options, map[string]protection.Property{OnUnfit: {
			Type: "string", Title: "On Unfit", Enum: []string{Fail, LeaveOut},
			Description: "Whether the protection fails if the resource cannot be protected as it is, or leaves it out.",
		}})
	}
	return s
}

// Encoded returns the JSON of View, which a provider never changes: it is not
// made anew for every call. Callers must not write to it.
func (p *Provider) Encoded() json.RawMessage { return p.encoded }

// Disown ends what other workers have begun to write into the bank for an
// operation that this one has taken over: see bank.Plugin.
func (p *Provider) Disown(ctx context.Context, operation string) error {
	return p.bank.Disown(ctx, operation)
}

// Plugin returns the plugin for a resource type, or ProtectionPluginNotFound.
func (p *Provider) Plugin(resourceType string) (protection.Plugin, error) {
	plugin, ok := p.plugins[resourceType]
	if !ok {
		return nil, fault.ProtectionPluginNotFound(resourceType)
	}
	return plugin, nil
}

// Types returns the resource types that the provider protects.
func (p *Provider) Types() []string { return append([]string(nil), p.types...) }

// Schema returns the schema of a type's parameters for restoring or verifying.
// ok is false when no plugin of the provider gives one.
func (p *Provider) Schema(kind protection.Kind, resourceType string) (schema json.RawMessage, ok bool) {
	plugin, found := p.plugins[resourceType]
	if !found {
		return nil, false
	}
	schemas := plugin.Schemas(resourceType)
	switch kind {
	case protection.Restore:
		schema = schemas.Restoring()
	case protection.Verify:
		schema = schemas.Verify
	case protection.Protect:
		schema = schemas.Options
	}
	return schema, schema != nil
}

// OnUnfit is the parameter of a plan for resources of a type that cannot be protected in
// their present state: the protection fails, as in the original, or they are left out. The
// option of the same name has the same choices.
const (
	OnUnfit  = "on_unfit"
	Fail     = "fail"
	LeaveOut = "leave_out"
)

// LeavesOut reports whether resources of a type that cannot be protected as they are may
// be left out, unless the plan says otherwise.
func (p *Provider) LeavesOut(resourceType string) bool {
	return cmp.Or(p.unfit[resourceType], p.unfit[""]) == LeaveOut
}

// Lease returns the lease of the provider's bank, or nil when the bank has none.
func (p *Provider) Lease() *bank.Lease { return p.bank.Lease() }

// Writable returns why nothing can be written to a bank that is on this machine. Other
// banks are not asked.
func (p *Provider) Writable() error { return p.bank.Writable() }

// Probe reports whether the bank answers, by one cheap request.
func (p *Provider) Probe(ctx context.Context) error { return p.bank.Probe(ctx) }

// Close ends the bank's lease and connections.
func (p *Provider) Close() error { return p.bank.Close() }

// addPlugin puts a plugin in charge of its types. A later plugin takes over
// the types of an earlier one, which keeps their place in the schema.
// karbor: provider.py
func (p *Provider) addPlugin(plugin protection.Plugin) error {
	types := plugin.Types()
	if len(types) == 0 {
		return errors.New("the plugin serves no resource type")
	}
	for _, resourceType := range types {
		if _, known := p.plugins[resourceType]; !known {
			p.types = append(p.types, resourceType)
		}
		p.plugins[resourceType] = plugin
	}
	return nil
}

// buildSchema writes extended_info_schema from the schemas that the function of returns
// for each type. It keeps the order of types and the plugins' own texts, which a map
// would lose.
func (p *Provider) buildSchema(of func(resourceType string, s protection.Schemas) protection.Schemas) (json.RawMessage, error) {
	var out bytes.Buffer
	parts := []struct {
		name string
		text func(protection.Schemas) json.RawMessage
	}{
		{"options_schema", func(s protection.Schemas) json.RawMessage { return s.Options }},
		{"restore_schema", func(s protection.Schemas) json.RawMessage { return s.Restore }},
		{"saved_info_schema", func(s protection.Schemas) json.RawMessage { return s.SavedInfo }},
	}
	out.WriteByte('{')
	for i, part := range parts {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:{", part.name)
		first := true
		for _, resourceType := range p.types {
			text := part.text(of(resourceType, p.plugins[resourceType].Schemas(resourceType)))
			if text == nil {
				continue
			}
			if !json.Valid(text) {
				return nil, fmt.Errorf("%s of %s is not JSON", part.name, resourceType)
			}
			if !first {
				out.WriteByte(',')
			}
			first = false
			fmt.Fprintf(&out, "%q:%s", resourceType, text)
		}
		out.WriteByte('}')
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
