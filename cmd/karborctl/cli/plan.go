// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/document"
)

// plan is what a checkpoint is made of.
// karbor: objects/plan.py
type plan struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	ProviderID string         `json:"provider_id"`
	ProjectID  string         `json:"project_id,omitempty"`
	Resources  []planResource `json:"resources"`
	Parameters parameters     `json:"parameters"`
}

// planFlags are the flags that make a plan.
type planFlags struct {
	id, name, file string
	resources      []string
	parameters     []string
}

func (f *planFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.resources, "resource", nil, "TYPE=ID or TYPE=ID:NAME, a resource to protect; can be repeated")
	flags.StringArrayVar(&f.parameters, "parameter", nil, parameterHelp)
	flags.StringVar(&f.name, "name", "", "the name of the plan (default: karborctl)")
	flags.StringVar(&f.id, "plan-id", "", "the id of the plan, a UUID; checkpoints can be listed by it (default: a new one)")
	flags.StringVar(&f.file, "plan-file", "", "a plan as YAML or JSON, {\"resources\": [{\"type\", \"id\", \"name\"}], \"parameters\": {}, \"name\", \"id\"}; - is the standard input. Flags add to it")
}

// defaultName is the name of plans that were given none; karbor-api requires one.
const defaultName = "karborctl"

// read makes the plan of the flags.
func (f *planFlags) read(in io.Reader, providerID string) (*plan, error) {
	p, err := f.fromFile(in)
	if err != nil {
		return nil, err
	}
	p.ProviderID = providerID
	for _, text := range f.resources {
		r, err := parseResource(text)
		if err != nil {
			return nil, err
		}
		p.Resources = append(p.Resources, r)
	}
	parameters, err := parseParameters(f.parameters)
	if err != nil {
		return nil, err
	}
	for key, of := range parameters {
		if p.Parameters[key] == nil {
			p.Parameters[key] = of
			continue
		}
		maps.Copy(p.Parameters[key], of)
	}
	if f.id != "" {
		p.ID = f.id
	}
	if p.ID == "" {
		p.ID = uuid.NewString()
	}
	if _, err := uuid.Parse(p.ID); err != nil {
		return nil, usagef("plan id %q is no UUID", p.ID)
	}
	if f.name != "" {
		p.Name = f.name
	}
	if p.Name == "" {
		p.Name = defaultName
	}
	return p, nil
}

// fromFile reads a plan, bare or in the body that karbor-api takes, {"plan": {}}.
// Members that a plan has in karbor-api's answers and not here do no harm.
func (f *planFlags) fromFile(in io.Reader) (*plan, error) {
	p := &plan{Resources: []planResource{}, Parameters: parameters{}}
	if f.file == "" {
		return p, nil
	}
	text, err := readFile(in, f.file)
	if err != nil {
		return nil, usageError{err}
	}
	if text, err = jsonOf(text); err != nil {
		return nil, usagef("plan file %s: %w", f.file, err)
	}
	var body struct {
		Plan json.RawMessage `json:"plan"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, usagef("plan file %s: %w", f.file, err)
	}
	if body.Plan != nil {
		text = body.Plan
	}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, usagef("plan file %s: %w", f.file, err)
	}
	if p.Parameters, err = p.Parameters.withLongNames(); err != nil {
		return nil, fmt.Errorf("plan file %s: %w", f.file, err)
	}
	for i := range p.Resources {
		r := &p.Resources[i]
		if r.Type, err = typeOf(r.Type); err != nil {
			return nil, fmt.Errorf("plan file %s: %w", f.file, err)
		}
		if r.ID == "" {
			return nil, usagef("plan file %s: resource %d has no id", f.file, i+1)
		}
		if r.Name == "" {
			r.Name = r.ID
		}
	}
	return p, nil
}

// jsonOf returns a plan as JSON. What begins with a brace is JSON, anything else YAML.
func jsonOf(text []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte{'{'}) {
		return text, nil
	}
	value, err := document.StrictYAML(text)
	if err != nil {
		return nil, err
	}
	if text, err = json.Marshal(value); err != nil {
		return nil, fmt.Errorf("a value of it has no form in JSON: %w", err)
	}
	return text, nil
}

func readFile(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading the plan: %w", err)
		}
		return text, nil
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(in); err != nil {
		return nil, fmt.Errorf("reading the plan from the standard input: %w", err)
	}
	if text.Len() == 0 {
		return nil, errors.New("reading the plan from the standard input: it is empty")
	}
	return text.Bytes(), nil
}
