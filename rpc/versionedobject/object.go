// SPDX-License-Identifier: Apache-2.0

// Package versionedobject reads and writes the primitives of
// oslo.versionedobjects: JSON objects that carry a name, a namespace, a version,
// data and the names of changed fields.
//
//	{"karbor_object.name": "Plan", "karbor_object.namespace": "karbor",
//	 "karbor_object.version": "1.0", "karbor_object.data": {...},
//	 "karbor_object.changes": ["name"]}
//
// The prefix of the keys is a project's OBJ_SERIAL_NAMESPACE and the namespace its
// OBJ_PROJECT_NAMESPACE.
package versionedobject

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Object is one versioned object. Data holds the fields that are set: a field
// that is unset is absent, one that is null holds the JSON text null.
type Object struct {
	Name      string
	Namespace string
	// Version is kept unchanged, so that a relayed object keeps its version.
	Version string
	Data    map[string]json.RawMessage
	// Changes names modified fields, in no order; nil when nothing changed.
	Changes []string
}

// The keys of a primitive behind their prefix. oslo.versionedobjects: base.py
const (
	keyName      = ".name"
	keyNamespace = ".namespace"
	keyVersion   = ".version"
	keyData      = ".data"
	keyChanges   = ".changes"
)

// ErrNotObject is the error for a JSON value that is not a versioned object of the
// prefix.
var ErrNotObject = errors.New("not a versioned object")

// UnsupportedError is the error for an object of another project or another kind.
// oslo.versionedobjects: exception.UnsupportedObjectError
type UnsupportedError struct{ Namespace, Name string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("Unsupported object type %s.%s", e.Namespace, e.Name)
}

// IncompatibleError reports an object of a version newer than the supported one.
// oslo.versionedobjects: exception.IncompatibleObjectVersion
type IncompatibleError struct{ Name, Version, Supported string }

func (e *IncompatibleError) Error() string {
	return fmt.Sprintf("Version %s of %s is not supported, supported version is %s", e.Version, e.Name, e.Supported)
}

// Is reports whether a JSON value is an object of the prefix, such as
// "karbor_object".
func Is(value json.RawMessage, prefix string) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil {
		return false
	}
	_, ok := members[prefix+keyName]
	return ok
}

// Decode reads one object. Name, namespace, version and data are required; the
// error for a value without the name wraps ErrNotObject. Fields stay raw: objects
// inside them are decoded by Decode again.
func Decode(value json.RawMessage, prefix string) (*Object, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotObject, err)
	}
	if _, ok := members[prefix+keyName]; !ok {
		return nil, fmt.Errorf("%w: no %s", ErrNotObject, prefix+keyName)
	}
	var o Object
	for key, into := range map[string]any{
		keyName: &o.Name, keyNamespace: &o.Namespace, keyVersion: &o.Version, keyData: &o.Data,
	} {
		raw, ok := members[prefix+key]
		if !ok {
			return nil, fmt.Errorf("versioned object without %s", prefix+key)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("versioned object: %s: %w", prefix+key, err)
		}
	}
	if o.Data == nil {
		return nil, fmt.Errorf("versioned object: %s is null", prefix+keyData)
	}
	if raw, ok := members[prefix+keyChanges]; ok {
		if err := json.Unmarshal(raw, &o.Changes); err != nil {
			return nil, fmt.Errorf("versioned object: %s: %w", prefix+keyChanges, err)
		}
	}
	return &o, nil
}

// Encode returns the primitive with the prefix. Changes are omitted when there are
// none, and names of unset fields are dropped from them.
func (o *Object) Encode(prefix string) (json.RawMessage, error) {
	data := o.Data
	if data == nil {
		data = map[string]json.RawMessage{}
	}
	members := map[string]any{
		prefix + keyName:      o.Name,
		prefix + keyNamespace: o.Namespace,
		prefix + keyVersion:   o.Version,
		prefix + keyData:      data,
	}
	var changes []string
	for _, name := range o.Changes {
		if _, set := o.Data[name]; set && !slices.Contains(changes, name) {
			changes = append(changes, name)
		}
	}
	if len(changes) > 0 {
		members[prefix+keyChanges] = changes
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encoding versioned object %s: %w", o.Name, err)
	}
	return text, nil
}

// Expect checks the namespace and name of the object and whether a receiver that
// implements version supported can read it: same major, no newer minor. A third part of
// the object's version is ignored. Errors are *UnsupportedError and *IncompatibleError.
func (o *Object) Expect(namespace, name, supported string) error {
	if o.Namespace != namespace || o.Name != name {
		return &UnsupportedError{Namespace: o.Namespace, Name: o.Name}
	}
	incompatible := &IncompatibleError{Name: o.Name, Version: o.Version, Supported: supported}
	have, err := parseVersion(o.Version)
	if err != nil {
		return incompatible
	}
	want, err := parseVersion(supported)
	if err != nil {
		return fmt.Errorf("supported version of %s: %w", name, err)
	}
	if have[0] != want[0] || have[1] > want[1] {
		return incompatible
	}
	return nil
}

// IsSet reports whether the field is set, to null or to any other value.
func (o *Object) IsSet(field string) bool {
	_, ok := o.Data[field]
	return ok
}

// IsNull reports whether the field is set to null.
func (o *Object) IsNull(field string) bool { return string(o.Data[field]) == "null" }

// Set sets a field and records the change.
func (o *Object) Set(field string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("field %s of %s: %w", field, o.Name, err)
	}
	if o.Data == nil {
		o.Data = make(map[string]json.RawMessage)
	}
	o.Data[field] = raw
	if !slices.Contains(o.Changes, field) {
		o.Changes = append(o.Changes, field)
	}
	return nil
}
