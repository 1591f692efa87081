// SPDX-License-Identifier: Apache-2.0

package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// Keys of index.json in the order of the original.
//
// karbor: services/protection/checkpoint.py Checkpoint.create
const (
	keyVersion   = "version"
	keyID        = "id"
	keyStatus    = "status"
	keyOwner     = "owner_id"
	keyProvider  = "provider_id"
	keyProject   = "project_id"
	keyPlan      = "protection_plan"
	keyExtraInfo = "extra_info"
	keyCreatedAt = "created_at"
	keyTimestamp = "timestamp"
	keyGraph     = "resource_graph"
)

// formatVersion is the only version of index.json that exists.
//
// karbor: checkpoint.py Checkpoint.VERSION
const formatVersion = "0.9"

// document is the content of index.json: the values by key, and the order of the keys. Keys unknown
// to this version are kept.
type document struct {
	keys   []string
	values map[string]json.RawMessage
}

// parseDocument reads a JSON object. A repeated key keeps its first place and its last value, as in
// Python.
func parseDocument(text []byte) (document, error) {
	d := document{values: map[string]json.RawMessage{}}
	if !utf8.Valid(text) {
		return d, errors.New("it is not UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return d, fmt.Errorf("it is not JSON: %w", err)
	}
	object := bytes.TrimLeft(whole, space)
	if object[0] != '{' {
		return d, errors.New("it is not a JSON object")
	}
	for rest := next(object[1:]); rest[0] != '}'; {
		var key string
		name := rest[:pyjson.End(rest)]
		if err := json.Unmarshal(name, &key); err != nil {
			return d, fmt.Errorf("it is not JSON: %w", err)
		}
		rest = next(rest[len(name):])
		value := rest[:pyjson.End(rest)]
		rest = next(rest[len(value):])
		d.set(key, value)
	}
	return d, nil
}

// space is the whitespace that JSON allows between tokens.
const space = " \t\r\n"

// next returns the text from the next token on.
func next(text []byte) []byte { return bytes.TrimLeft(text, space+":,") }

func (d *document) set(key string, value json.RawMessage) {
	if _, known := d.values[key]; !known {
		d.keys = append(d.keys, key)
	}
	d.values[key] = value
}

// clone returns a copy that can be changed without changing d.
func (d *document) clone() document {
	return document{keys: slices.Clone(d.keys), values: maps.Clone(d.values)}
}

// text returns the document as JSON. The bank normalises the spacing.
func (d *document) text() json.RawMessage {
	text := []byte{'{'}
	for i, key := range d.keys {
		if i > 0 {
			text = append(text, ',')
		}
		text = pyjson.AppendString(text, key)
		text = append(text, ':')
		text = append(text, d.values[key]...)
	}
	return append(text, '}')
}

// fields are the values of index.json that this version reads.
type fields struct {
	id, owner, provider, project, createdAt string
	status                                  Status
	timestamp                               int64
	plan                                    Plan
	graph                                   *string // nil until it is built
}

// errVersion has the wording of the original.
var errVersion = errors.New("Checkpoint was created in an unsupported version") //nolint:staticcheck // shown to users as it is

// fields reads the known keys. The error names the first invalid one.
func (d *document) fields() (fields, error) {
	var f fields
	var version string
	if err := d.decode(keyVersion, "a text", &version); err != nil {
		return f, err
	}
	if version != formatVersion {
		return f, errVersion
	}
	var plan planJSON
	for _, known := range []struct {
		key, kind string
		into      any
	}{
		{keyID, "a text", &f.id},
		{keyStatus, "a text", &f.status},
		{keyProvider, "a text", &f.provider},
		{keyProject, "a text", &f.project},
		{keyCreatedAt, "a text", &f.createdAt},
		{keyTimestamp, "an integer", &f.timestamp},
		{keyPlan, "an object with the texts id, name and provider_id and the list resources", &plan},
	} {
		if err := d.decode(known.key, known.kind, known.into); err != nil {
			return f, err
		}
	}
	if _, ok := d.values[keyOwner]; ok {
		if err := d.decode(keyOwner, "a text", &f.owner); err != nil {
			return f, err
		}
	}
	if _, ok := d.values[keyGraph]; ok {
		if err := d.decode(keyGraph, "a text", &f.graph); err != nil {
			return f, err
		}
	}
	f.plan = plan.plan(f.project)
	return f, nil
}

func (d *document) decode(key, kind string, into any) error {
	value, ok := d.values[key]
	if !ok {
		return fmt.Errorf("%q is missing", key)
	}
	if text, ok := into.(*string); ok && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		*text = string(value[1 : len(value)-1]) // the fast path, for nearly all values
		return nil
	}
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%q is not %s", key, kind)
	}
	return nil
}

// planJSON is the plan as index.json holds it.
type planJSON struct {
	ID         string         `json:"id"`
	Name       *string        `json:"name"`
	ProviderID string         `json:"provider_id"`
	Resources  []resourceJSON `json:"resources"`
}

type resourceJSON struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Name      *string         `json:"name"`
	ExtraInfo json.RawMessage `json:"extra_info"`
}

func (p planJSON) plan(projectID string) Plan {
	plan := Plan{ID: p.ID, Unnamed: p.Name == nil, ProviderID: p.ProviderID, ProjectID: projectID}
	if p.Name != nil {
		plan.Name = *p.Name
	}
	for _, r := range p.Resources {
		found := resource.New(r.Type, r.ID, r.Name)
		found.ExtraInfo = r.ExtraInfo
		plan.Resources = append(plan.Resources, found)
	}
	return plan
}

// text returns the plan as index.json holds it.
func (p Plan) text() json.RawMessage {
	text := []byte(`{"id":`)
	text = pyjson.AppendString(text, p.ID)
	text = append(text, `,"name":`...)
	if p.Unnamed {
		text = append(text, "null"...)
	} else {
		text = pyjson.AppendString(text, p.Name)
	}
	text = append(text, `,"provider_id":`...)
	text = pyjson.AppendString(text, p.ProviderID)
	text = append(text, `,"resources":[`...)
	for i, r := range p.Resources {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, `{"id":`...)
		text = pyjson.AppendString(text, r.ID)
		text = append(text, `,"type":`...)
		text = pyjson.AppendString(text, r.Type)
		text = append(text, `,"name":`...)
		text = resource.AppendName(text, r)
		text = append(text, `,"extra_info":`...)
		text = append(text, orNull(r.ExtraInfo)...)
		text = append(text, '}')
	}
	return append(text, `]}`...)
}

func orNull(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	return value
}

func quoted(s string) json.RawMessage { return pyjson.AppendString(nil, s) }

func number(n int64) json.RawMessage { return strconv.AppendInt(nil, n, 10) }
