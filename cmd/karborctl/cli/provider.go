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

func (a *App) provider() *cobra.Command {
	return holder("provider", "What keeps checkpoints, and how", a.providerList(), a.providerShow())
}

// providerView is a provider as the workers show it.
type providerView struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	// Schemas are {"options_schema", "restore_schema", "verify_schema",
	// "saved_info_schema"} of {type: JSON schema}.
	Schemas map[string]map[string]json.RawMessage `json:"extended_info_schema"`
}

func (a *App) providerList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the providers", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, client.Request{Method: "list_providers"}, providersTable)
		},
	}
}

func providersTable(answer json.RawMessage) (*table.Table, error) {
	var views []providerView
	if err := decode(answer, &views); err != nil {
		return nil, err
	}
	t := table.New("id", "name", "description")
	for _, v := range views {
		t.Add(v.ID, v.Name, v.Description)
	}
	return t, nil
}

func (a *App) providerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show PROVIDER", Short: "Show a provider, and the parameters that it takes for each type", Args: exactly("PROVIDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, client.Request{Method: "show_provider", Args: map[string]any{"provider_id": args[0]}}, providerFields)
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
