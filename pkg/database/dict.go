// SPDX-License-Identifier: Apache-2.0

package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// dict is a Python dict of strings as a JSON column holds it. It keeps the
// order of its keys, as Python does, so that a text that is read and written
// stays the same.
//
// karbor: objects/base.py, DictOfStringsField through oslo_serialization
type dict struct {
	keys   []string
	values map[string]json.RawMessage
}

// parseDict reads a column, where empty text is an empty dict.
func parseDict(text string) (*dict, error) {
	d := &dict{values: map[string]json.RawMessage{}}
	if text == "" {
		return d, nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	open, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	if open == nil { // null
		return d, nil
	}
	if open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		d.put(key.(string), value) // a key is always a string
	}
	_, err = decoder.Token()
	return d, err
}

func (d *dict) put(key string, value json.RawMessage) {
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// merge sets entries. New keys follow the old ones, sorted.
func (d *dict) merge(entries map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		d.put(key, pyjson.AppendString(nil, entries[key]))
	}
}

// text is the dict as json.dumps writes it.
func (d *dict) text() (string, error) {
	text := []byte{'{'}
	for i, key := range d.keys {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(pyjson.AppendString(text, key), ": "...)
		var err error
		if text, err = pyjson.Append(text, d.values[key]); err != nil {
			return "", err
		}
	}
	return string(append(text, '}')), nil
}

// strings is the dict as a map. A value that is no string stands as its JSON.
func (d *dict) strings() map[string]string {
	m := make(map[string]string, len(d.keys))
	for key, raw := range d.values {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		m[key] = s
	}
	return m
}

// mergeColumn returns what a column holds after entries are set in it.
func mergeColumn(name, text string, entries map[string]string) (string, error) {
	d, err := parseDict(text)
	if err != nil {
		return "", fmt.Errorf("read column %s: %w", name, err)
	}
	d.merge(entries)
	return d.text()
}
