// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
)

func providerCommand(a *App) *cobra.Command {
	return holder("provider", "What keeps checkpoints, and how", providerListCommand(a), providerShowCommand(a))
}

// providerView is a provider as the workers show it.
type providerView struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Bank        string `json:"bank"`
	State       string `json:"state"`
	Reason      string `json:"reason"`
	// Schemas are {"options_schema", "restore_schema", "verify_schema",
	// "saved_info_schema"} of {type: JSON schema}.
	Schemas map[string]map[string]json.RawMessage `json:"extended_info_schema"`
}

func providerListCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the providers", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, client.Request{Method: "list_providers", Version: operationsVersion}, providersTable)
		},
	}
}

func providersTable(answer json.RawMessage) (*table.Table, error) {
	var views []providerView
	if err := decode(answer, &views); err != nil {
		return nil, err
	}
	t := table.New("id", "name", "state", "description")
	for _, v := range views {
		t.Add(v.ID, v.Name, v.State, v.Description)
	}
	return t, nil
}

func providerShowCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "show PROVIDER", Short: "Show a provider, and the parameters that it takes for each type", Args: exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.askAbout(cmd, args, func(ids []string) client.Request {
				return client.Request{Method: "show_provider", Version: operationsVersion, Args: map[string]any{"provider_id": ids[0]}}
			}, providerFields)
		},
	}
}

// providerFields shows the names of parameters in place of their schemas.
func providerFields(answer json.RawMessage) (*table.Table, error) {
	var v providerView
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("id", v.ID)
	t.Add("name", v.Name)
	t.Add("description", v.Description)
	t.Add("bank", v.Bank)
	t.Add("state", v.State)
	t.Add("reason", v.Reason)
	types := map[string]bool{}
	for _, ofType := range v.Schemas {
		for name := range ofType {
			types[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t.Add("type", name)
	}
	for _, kind := range []struct{ schema, label string }{
		{"options_schema", "protect"}, {"restore_schema", "restore"}, {"verify_schema", "verify"},
	} {
		for _, name := range slices.Sorted(maps.Keys(v.Schemas[kind.schema])) {
			if names := propertyNames(v.Schemas[kind.schema][name]); len(names) > 0 {
				t.Add(kind.label+" "+name, strings.Join(names, ", "))
			}
		}
	}
	return t, nil
}

func propertyNames(schema json.RawMessage) []string {
	var s struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}

func protectableCommand(a *App) *cobra.Command {
	return holder("protectable", "What can be protected", protectableListCommand(a), protectableShowCommand(a), protectableDependentsCommand(a))
}

// instanceView is a resource as the workers show it. Listings of one type
// leave the type out.
type instanceView struct {
	Type      string          `json:"type"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	ExtraInfo json.RawMessage `json:"extra_info"`
}

// instanceParameters registers the flag for what some types need to find a
// resource.
func instanceParameters(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArray("parameter", nil, "KEY=VALUE, a parameter of the type, such as the name of a pod; can be repeated")
}

func protectableListCommand(a *App) *cobra.Command {
	var texts *[]string
	cmd := &cobra.Command{
		Use: "list [TYPE]", Short: "List the types, or the caller's resources of a type", Args: between(0, "TYPE"),
		ValidArgsFunction: completeType,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.Request{Method: "list_protectable_types"}
			fill := typesTable
			if len(args) > 0 {
				resourceType, err := typeOf(args[0])
				if err != nil {
					return err
				}
				parameters, err := parseArguments(*texts)
				if err != nil {
					return err
				}
				r = client.Request{Method: "list_protectable_instances",
					Args: map[string]any{"protectable_type": resourceType, "parameters": parameters}}
				fill = instancesTable
			}
			return a.ask(cmd, r, fill)
		},
	}
	texts = instanceParameters(cmd)
	return cmd
}

func typesTable(answer json.RawMessage) (*table.Table, error) {
	var types []string
	if err := decode(answer, &types); err != nil {
		return nil, err
	}
	t := table.New("type", "short")
	for _, name := range types {
		t.Add(name, aliasOf(name))
	}
	return t, nil
}

func instancesTable(answer json.RawMessage) (*table.Table, error) {
	var instances []instanceView
	if err := decode(answer, &instances); err != nil {
		return nil, err
	}
	t := table.New("id", "name")
	for _, i := range instances {
		t.Add(i.ID, i.Name)
	}
	return t, nil
}

func protectableShowCommand(a *App) *cobra.Command {
	var texts *[]string
	cmd := &cobra.Command{
		Use: "show TYPE [ID]", Short: "Show a resource, or what can depend on resources of a type", Args: between(1, "TYPE", "ID"),
		ValidArgsFunction: completeType,
		RunE: func(cmd *cobra.Command, args []string) error {
			resourceType, err := typeOf(args[0])
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.ask(cmd, client.Request{Method: "show_protectable_type", Args: map[string]any{"protectable_type": resourceType}}, typeFields)
			}
			parameters, err := parseArguments(*texts)
			if err != nil {
				return err
			}
			r := client.Request{Method: "show_protectable_instance",
				Args: map[string]any{"protectable_type": resourceType, "protectable_id": args[1], "parameters": parameters}}
			return a.ask(cmd, r, func(answer json.RawMessage) (*table.Table, error) {
				if string(answer) == "null" {
					return nil, notFoundf("there is no %s with the id %s", resourceType, args[1])
				}
				return instanceFields(answer)
			})
		},
	}
	texts = instanceParameters(cmd)
	return cmd
}

func typeFields(answer json.RawMessage) (*table.Table, error) {
	var v struct {
		Name       string   `json:"name"`
		Dependents []string `json:"dependent_types"`
	}
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("name", v.Name)
	t.Add("dependent_types", strings.Join(v.Dependents, ", "))
	return t, nil
}

func instanceFields(answer json.RawMessage) (*table.Table, error) {
	var v instanceView
	if err := decode(answer, &v); err != nil {
		return nil, err
	}
	t := table.NewFields()
	t.Add("type", v.Type)
	t.Add("id", v.ID)
	t.Add("name", v.Name)
	t.Add("extra_info", textOf(v.ExtraInfo))
	return t, nil
}

func protectableDependentsCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "dependents TYPE ID", Short: "List the resources that are protected with one", Args: exactly("TYPE", "ID"),
		ValidArgsFunction: completeType,
		RunE: func(cmd *cobra.Command, args []string) error {
			resourceType, err := typeOf(args[0])
			if err != nil {
				return err
			}
			r := client.Request{Method: "list_protectable_dependents",
				Args: map[string]any{"protectable_type": resourceType, "protectable_id": args[1], "protectable_name": nil}}
			return a.ask(cmd, r, func(answer json.RawMessage) (*table.Table, error) {
				var instances []instanceView
				if err := decode(answer, &instances); err != nil {
					return nil, err
				}
				t := table.New("type", "id", "name")
				for _, i := range instances {
					t.Add(i.Type, i.ID, i.Name)
				}
				return t, nil
			})
		},
	}
}
