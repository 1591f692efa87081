// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/pkg/resource"
)

// aliases are short names of resource types.
var aliases = map[string]string{
	"server": resource.Server, "volume": resource.Volume, "image": resource.Image, "share": resource.Share,
	"network": resource.Network, "database": resource.Database, "pod": resource.Pod, "project": resource.Project,
}

const aliasHelp = `server (OS::Nova::Server), volume (OS::Cinder::Volume), image (OS::Glance::Image),
              share (OS::Manila::Share), network (OS::Neutron::Network), database (OS::Trove::Instance),
              pod (OS::Kubernetes::Pod), project (OS::Keystone::Project); the long names work too.`

// aliasNames lists the short names in the order of the alphabet.
func aliasNames() []string {
	names := make([]string, 0, len(aliases))
	for name := range aliases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// aliasOf is the short name of a type, or nothing.
func aliasOf(resourceType string) string {
	for name, long := range aliases {
		if long == resourceType {
			return name
		}
	}
	return ""
}

// typeOf reads a resource type. A long name is taken as it is: the worker may
// have a vendor's types.
func typeOf(text string) (string, error) {
	if strings.Contains(text, "::") {
		return text, nil
	}
	if long, ok := aliases[strings.ToLower(text)]; ok {
		return long, nil
	}
	return "", usagef("unknown resource type %q; want a long name such as %s, or one of %s", text, resource.Server, strings.Join(aliasNames(), ", "))
}

// completeType offers types as the first argument of a command.
func completeType(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return aliasNames(), cobra.ShellCompDirectiveNoFileComp
}

// planResource is a resource as a plan has it.
type planResource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"`
	// ExtraInfo comes from plan files; a JSON string or null.
	ExtraInfo json.RawMessage `json:"extra_info,omitempty"`
}

// parseResource reads TYPE=ID[:NAME]. Without a name the id stands for it.
func parseResource(text string) (planResource, error) {
	kind, rest, ok := strings.Cut(text, "=")
	if !ok {
		return planResource{}, usagef("resource %q: want TYPE=ID or TYPE=ID:NAME", text)
	}
	resourceType, err := typeOf(kind)
	if err != nil {
		return planResource{}, err
	}
	id, name, named := strings.Cut(rest, ":")
	if id == "" {
		return planResource{}, usagef("resource %q: the id is missing", text)
	}
	if !named || name == "" {
		name = id
	}
	return planResource{Type: resourceType, ID: id, Name: name}, nil
}
