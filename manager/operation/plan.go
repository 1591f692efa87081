// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

// Plan says what to protect and how.
type Plan struct {
	ID         string
	Name       string
	Unnamed    bool // the name is null
	ProviderID string
	ProjectID  string
	Resources  []resource.Resource
	Parameters Parameters
}

// Parameters are the users' parameters by resource type, or by "type#id" for
// one resource, which then overrides those of its type.
type Parameters map[string]protection.Parameters

// of returns the parameters of one resource.
func (p Parameters) of(r resource.Resource) protection.Parameters {
	return p[r.Type].Overlay(p[r.Key().String()])
}

func (p Plan) stored() checkpoint.Plan {
	return checkpoint.Plan{ID: p.ID, Name: p.Name, Unnamed: p.Unnamed, ProviderID: p.ProviderID, ProjectID: p.ProjectID, Resources: p.Resources}
}
