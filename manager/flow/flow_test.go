// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"fmt"
	"testing"

	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// users is a provider whose servers use networks.
type users struct{}

func (u users) Plugin(string) (protection.Plugin, error) { return u, nil }
func (users) Types() []string                            { return nil }
func (users) Schemas(string) protection.Schemas          { return protection.Schemas{} }
func (users) Operation(_ protection.Kind, r resource.Resource) (*protection.Operation, error) {
	if r.Type == resource.Server {
		return &protection.Operation{Uses: []string{resource.Network, resource.Server}}, nil
	}
	return &protection.Operation{}, nil
}

// The order of users and what they use takes as many links as there are of both,
// not as there are pairs, and the order holds.
func TestLinksOfUsesAreLinear(t *testing.T) {
	t.Parallel()
	links := func(servers, networks int) int {
		graph := &resource.Graph{}
		for i := range servers {
			graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: resource.Server, ID: fmt.Sprint("s", i)}})
		}
		for i := range networks {
			graph.Roots = append(graph.Roots, &resource.Node{Resource: resource.Resource{Type: resource.Network, ID: fmt.Sprint("n", i)}})
		}
		f := &Flow{Kind: protection.Restore, Graph: graph, Provider: users{}}
		if err := f.Link(); err != nil {
			t.Fatal(err)
		}
		return f.tasks.Links()
	}
	for _, n := range []int{1, 10, 100} {
		if got, most := links(n, 10*n), 4*11*n; got > most {
			t.Errorf("%d servers and %d networks have %d links, want at most %d", n, 10*n, got, most)
		}
	}
}
