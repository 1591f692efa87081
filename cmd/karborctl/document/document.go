// SPDX-License-Identifier: Apache-2.0

// Package document reads YAML, and JSON with it, as the values that encoding/json has for a
// document: its mappings are of type map[string]any.
package document

import (
	"fmt"

	"gopkg.in/yaml.v2"
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

// stringKeys turns the mappings of YAML into those of JSON.
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
