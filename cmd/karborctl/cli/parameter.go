// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// parameters are {"type" or "type#id": {name: value}}.
type parameters map[string]map[string]json.RawMessage

const parameterHelp = "TYPE:KEY=VALUE or TYPE#ID:KEY=VALUE, a parameter of the plugin for that type or resource; KEY:=JSON for what is no text; can be repeated"

// parseParameters reads TYPE[#ID]:KEY=VALUE. The value is a string, as
// karbor-api sends it, or with KEY:=VALUE a JSON value.
func parseParameters(texts []string) (parameters, error) {
	all := parameters{}
	for _, text := range texts {
		if err := all.add(text); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p parameters) add(text string) error {
	left, value, ok := strings.Cut(text, "=")
	left, isJSON := strings.CutSuffix(left, ":")
	at := strings.LastIndexByte(left, ':')
	// The colons of OS::Nova::Server separate nothing.
	if !ok || at <= 0 || left[at-1] == ':' || at == len(left)-1 {
		return usagef("parameter %q: want TYPE:KEY=VALUE or TYPE#ID:KEY=VALUE", nameOnly(text))
	}
	kind, id, specific := strings.Cut(left[:at], "#")
	key, err := typeOf(kind)
	if err != nil {
		return err
	}
	if specific {
		key += "#" + id
	}
	encoded, err := jsonValue(value, isJSON)
	if err != nil {
		return usagef("parameter %q: %w", nameOnly(text), err)
	}
	if !isJSON {
		encoded = quote(value)
	}
	if p[key] == nil {
		p[key] = map[string]json.RawMessage{}
	}
	p[key][left[at+1:]] = encoded
	return nil
}

// withLongNames replaces short names of types.
func (p parameters) withLongNames() (parameters, error) {
	long := make(parameters, len(p))
	for key, of := range p {
		kind, id, specific := strings.Cut(key, "#")
		name, err := typeOf(kind)
		if err != nil {
			return nil, err
		}
		if specific {
			name += "#" + id
		}
		long[name] = of
	}
	return long, nil
}

// parseArguments reads key=value, whose value is JSON when it can be, and
// key:=value, whose value must be.
func parseArguments(texts []string) (map[string]any, error) {
	args := map[string]any{}
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		key, isJSON := strings.CutSuffix(key, ":")
		if !ok || key == "" {
			return nil, usagef("argument %q: want KEY=VALUE or KEY:=JSON", nameOnly(text))
		}
		encoded, err := jsonValue(value, isJSON)
		if err != nil {
			return nil, usagef("argument %q: %w", nameOnly(text), err)
		}
		args[key] = encoded
	}
	return args, nil
}

// nameOnly leaves out the value, which may be a secret.
func nameOnly(text string) string {
	name, _, _ := strings.Cut(text, "=")
	return name
}

// jsonValue returns text as it is if it is one JSON value, else as a string,
// unless it must be JSON.
func jsonValue(text string, must bool) (json.RawMessage, error) {
	d := json.NewDecoder(strings.NewReader(text))
	var value json.RawMessage
	if err := d.Decode(&value); err == nil {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return value, nil
		}
	}
	if must {
		return nil, errors.New("the value is no JSON")
	}
	return quote(text), nil
}

// quote makes a JSON string. Signs of HTML stay as they are.
func quote(text string) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(text) != nil { // strings always encode
		return json.RawMessage(`""`)
	}
	return bytes.TrimSpace(out.Bytes())
}
