// SPDX-License-Identifier: Apache-2.0

package openstacktest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// held is one resource of a project.
type held struct {
	kind Kind
	item
}

type item struct {
	ID          string
	Name        string
	Status      string
	DeviceOwner string `json:"device_owner"` // of a port
	DeviceID    string `json:"device_id"`    // the same
	KeyPair     *item  // a listing of key pairs wraps each
}

func (h held) String() string {
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", h.kind.name, h.ID, h.Name, h.Status)), " ")
}

// Inventory returns a line for each resource that the project holds, sorted: kind,
// id, name and status. Of containers it tells how many objects there are. What
// the cloud makes for every project, its default security group, is left out.
// Services whose variables are not set are not asked.
func (p *RealProject) Inventory() []string {
	p.t.Helper()
	all, err := p.held()
	must(p.t, err)
	lines := []string{}
	for _, h := range all {
		lines = append(lines, h.String())
	}
	for _, name := range p.containers() {
		lines = append(lines, fmt.Sprintf("container %s of %d objects", name, len(p.Objects(name))))
	}
	slices.Sort(lines)
	return lines
}

var ids = regexp.MustCompile(` [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// Holdings is an Inventory without ids, for a comparison with what was made anew.
// Containers that a service has made and that are empty do not count.
func (p *RealProject) Holdings() []string {
	p.t.Helper()
	lines := slices.DeleteFunc(p.Inventory(), func(line string) bool {
		return strings.HasPrefix(line, "container ") && strings.HasSuffix(line, " of 0 objects")
	})
	for i, line := range lines {
		lines[i] = ids.ReplaceAllString(line, "")
	}
	slices.Sort(lines)
	return lines
}

func (p *RealProject) held() ([]held, error) {
	var all []held
	for _, k := range kinds {
		if os.Getenv(k.service.variable) == "" {
			continue
		}
		items, err := p.listKind(p.ctx, k)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			if k.name != SecurityGroup.name || i.Name != "default" {
				all = append(all, held{k, i})
			}
		}
	}
	return all, nil
}

func (p *RealProject) listKind(ctx context.Context, k Kind) ([]item, error) {
	client, err := k.service.client(p.Factory, ctx)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if k.filter != "" {
		query.Set(k.filter, p.ID())
	}
	items, err := openstack.List[item](ctx, client, k.listed(), k.list, query)
	for i := range items {
		if pair := items[i].KeyPair; pair != nil {
			items[i] = item{ID: pair.Name} // its name is what it goes by
		}
	}
	return items, err
}

// List returns the project's resources of a kind that have all of some properties,
// name and value in turn, as their service describes them.
func (p *RealProject) List(k Kind, properties ...string) []map[string]any {
	p.t.Helper()
	client, err := k.service.client(p.Factory, p.ctx)
	must(p.t, err)
	query := url.Values{}
	if k.filter != "" {
		query.Set(k.filter, p.ID())
	}
	for i := 0; i+1 < len(properties); i += 2 {
		query.Add(properties[i], properties[i+1])
	}
	found, err := openstack.List[map[string]any](p.ctx, client, k.listed(), k.list, query)
	must(p.t, err)
	return found
}

// Only returns the id of the one resource of a kind.
func (p *RealProject) Only(k Kind) string {
	p.t.Helper()
	items, err := p.listKind(p.ctx, k)
	must(p.t, err)
	if len(items) != 1 {
		p.t.Fatalf("%d of kind %s", len(items), k.name)
	}
	return items[0].ID
}

// Show returns a resource as its service describes it.
func (p *RealProject) Show(k Kind, id string) map[string]any {
	p.t.Helper()
	shown, err := p.show(k, id)
	must(p.t, err)
	return shown
}

func (p *RealProject) show(k Kind, id string) (map[string]any, error) {
	client, err := k.service.client(p.Factory, p.ctx)
	if err != nil {
		return nil, err
	}
	shown, err := openstack.Show[map[string]any](p.ctx, client, k.path, id, k.member)
	if err != nil {
		return nil, err
	}
	return *shown, nil
}
