// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/openstack"
)

// rule is a rule of a security group. Null means any.
type rule struct {
	ID          string  `json:"id,omitempty"`
	GroupID     string  `json:"security_group_id"`
	Direction   string  `json:"direction"`
	EtherType   string  `json:"ethertype"`
	Protocol    *string `json:"protocol"`
	PortMin     *int    `json:"port_range_min"`
	PortMax     *int    `json:"port_range_max"`
	Prefix      *string `json:"remote_ip_prefix"`
	RemoteGroup *string `json:"remote_group_id"`
	Addresses   *string `json:"remote_address_group_id,omitempty"`
	Description string  `json:"description"`
}

// says is what a rule says, to compare.
func (r rule) says() string {
	return fmt.Sprint(r.Direction, " ", r.EtherType, " ", value(r.Protocol), " ", value(r.PortMin), " ", value(r.PortMax), " ",
		value(r.Prefix), " ", value(r.RemoteGroup), " ", value(r.Addresses))
}

func value[T any](p *T) string {
	if p == nil {
		return "any"
	}
	return fmt.Sprint(*p)
}

// buildGroups makes the security groups, and then, since they refer to each other,
// their rules. The default group is there in every project and is left as it is.
func (r *rebuild) buildGroups(ctx context.Context) error {
	r.kept = map[string]string{}
	own := map[string]secure{}
	for id, g := range r.about.Groups {
		if g.Name != defaultGroup {
			own[id] = g
			continue
		}
		found, err := list[item](ctx, r.service, groups, r.project, "name", defaultGroup)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			r.kept[id] = found[0].ID
		}
	}
	err := each(ctx, r, own, func(ctx context.Context, id string, g secure) error {
		body := map[string]any{"name": g.Name}
		if g.Stateful != nil && !*g.Stateful {
			body["stateful"] = false
		}
		_, err := r.make(ctx, order{kind: groups, original: id, name: g.Name, body: body})
		return err
	})
	if err != nil {
		return err
	}
	return each(ctx, r, own, func(ctx context.Context, id string, g secure) error {
		made, _ := r.new(groups, id)
		return r.setRules(ctx, made, g.Rules)
	})
}

// setRules gives a group the rules that it is to have and no others: Neutron gives
// a new one some.
func (r *rebuild) setRules(ctx context.Context, id string, wanted []rule) error {
	now, err := openstack.Show[item](ctx, r.ServiceClient, groups.collection, id, groups.member)
	if err != nil {
		return err
	}
	missing := map[string]rule{}
	for _, w := range wanted {
		w.ID, w.GroupID = "", id
		if w.RemoteGroup != nil {
			remote := r.group(*w.RemoteGroup)
			w.RemoteGroup = &remote
		}
		missing[w.says()] = w
	}
	for _, has := range now.Rules {
		if _, wanted := missing[has.says()]; wanted {
			delete(missing, has.says())
			continue
		}
		if err := r.remove(ctx, "security-group-rules", has.ID); err != nil {
			return fmt.Errorf("delete a rule of security group %s: %w", id, err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rules := make([]rule, 0, len(missing))
	for _, w := range missing {
		rules = append(rules, w)
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.says(), b.says()) })
	if _, err := r.Post(ctx, r.ServiceURL("security-group-rules"), map[string]any{"security_group_rules": rules}, nil, nil); err != nil {
		return fmt.Errorf("create rules of security group %s: %w", id, err)
	}
	return nil
}

// group returns the id that stands for a security group now: one that the backup
// does not have, such as another project's, stands for itself.
func (r *rebuild) group(original string) string {
	if id, ok := r.new(groups, original); ok {
		return id
	}
	if id, ok := r.kept[original]; ok {
		return id
	}
	return original
}
