// SPDX-License-Identifier: Apache-2.0

// Package document reads YAML, and JSON with it, as the values that encoding/json has for a
// document: its mappings are of type map[string]any. It writes JSON as YAML.
package document

import (
	"bytes"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v2"

	"github.com/karbor-project/karbor/pkg/printable"
)

// YAML reads a document. Of a key that is given twice the last one counts, as in Python.
func YAML(text []byte) (any, error) {
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return nil, err
	}
	return stringKeys(value), nil
}

// StrictYAML is YAML that refuses a key that is given twice.
func StrictYAML(text []byte) (any, error) {
	var value any
	if err := yaml.UnmarshalStrict(text, &value); err != nil {
		return nil, err
	}
	return stringKeys(value), nil
}

// stringKeys converts YAML mappings to maps with string keys, as JSON has them.
func stringKeys(value any) any {
	switch v := value.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[fmt.Sprint(key)] = stringKeys(value)
		}
		return m
	case []any:
		for i := range v {
			v[i] = stringKeys(v[i])
		}
	}
	return value
}

// ToYAML writes a JSON document as YAML, its keys in order. What a terminal obeys is
// escaped in its strings.
func ToYAML(text []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("the answer is no JSON: %w", err)
	}
	return yaml.Marshal(plain(value))
}

// plain has Go's own numbers, which YAML does not quote, where they hold the same value.
func plain(value any) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case string:
		return printable.Line(v)
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, member := range v {
			m[printable.Line(key)] = plain(member)
		}
		return m
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return value
}
