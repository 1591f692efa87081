// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

const (
	// maxNesting bounds the nesting of what is sent. Python's json reads little more
	// than 990 levels, which are fewer where its stack is in use already.
	maxNesting = 900
	// maxSteps bounds pointers and interfaces in a row, which nest without a level.
	maxSteps = 4 * maxNesting
	// maxValues bounds the values of one result: one that shares its parts can be
	// small in memory and endless as text.
	maxValues = 1 << 24
)

var (
	errTooDeep = fmt.Errorf("the value is nested more than %d levels deep, or refers to itself", maxNesting)
	errTooMany = fmt.Errorf("the value has more than %d parts", maxValues)
)

// checkNesting refuses a value that encoding/json would not survive: its recursion
// ends the process when a value is nested deeply enough.
func checkNesting(value any) error {
	n := nesting{left: maxValues}
	return n.value(value, maxNesting)
}

// nesting walks a value before it is encoded.
type nesting struct {
	left int // values that may still come
}

// value knows what handlers return most, and leaves the rest to reflection.
func (n *nesting) value(value any, levels int) error {
	switch v := value.(type) {
	case nil, bool, int, int64, float64, string, json.Number, json.RawMessage, Context, map[string]json.RawMessage:
		return n.count()
	case map[string]any:
		if levels == 0 {
			return errTooDeep
		}
		for _, member := range v {
			if err := n.value(member, levels-1); err != nil {
				return err
			}
		}
		return n.count()
	case []any:
		if levels == 0 {
			return errTooDeep
		}
		for _, element := range v {
			if err := n.value(element, levels-1); err != nil {
				return err
			}
		}
		return n.count()
	default:
		return n.reflected(reflect.ValueOf(v), levels, maxSteps)
	}
}

func (n *nesting) count() error {
	if n.left--; n.left < 0 {
		return errTooMany
	}
	return nil
}

func (n *nesting) reflected(v reflect.Value, levels, steps int) error {
	if err := n.count(); err != nil || !v.IsValid() || isShallow(v.Type()) {
		return err
	}
	if levels == 0 || steps == 0 {
		return errTooDeep
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return n.reflected(v.Elem(), levels, steps-1)
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if err := n.reflected(entries.Value(), levels-1, steps-1); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := n.reflected(v.Index(i), levels-1, steps-1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !isEncoded(v.Type().Field(i)) {
				continue
			}
			if err := n.reflected(v.Field(i), levels-1, steps-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// shallow remembers the answers of isShallow.
var shallow sync.Map

// isShallow reports whether values of the type nest no deeper than its declaration
// shows: they hold no interface and nothing of their own type. A type that encodes
// itself counts as shallow, because what it holds is its own affair.
func isShallow(t reflect.Type) bool {
	if known, ok := shallow.Load(t); ok {
		return known.(bool)
	}
	flat := flatType(t, make(map[reflect.Type]bool))
	shallow.Store(t, flat)
	return flat
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// flatType looks at a type whose containers, the types above, are given.
func flatType(t reflect.Type, above map[reflect.Type]bool) bool {
	if t.Kind() != reflect.Interface && (t.Implements(jsonMarshaler) || t.Implements(textMarshaler)) {
		return true
	}
	if above[t] {
		return false
	}
	above[t] = true
	defer delete(above, t)
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return flatType(t.Elem(), above)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); isEncoded(f) && !flatType(f.Type, above) {
				return false
			}
		}
	}
	return true
}

// isEncoded reports whether encoding/json looks into the field.
func isEncoded(f reflect.StructField) bool {
	return (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-"
}

// Marshal is json.Marshal for values of any origin on their way to a peer: a panic of
// a value that encodes itself, endless nesting, and text that no peer would read are
// errors.
func Marshal(value any) (text []byte, err error) {
	err = Guard(func() error {
		if err := checkNesting(value); err != nil {
			return err
		}
		if text, err = json.Marshal(value); err != nil {
			return err
		}
		return checkRaw(text)
	})
	if err != nil {
		return nil, err
	}
	return text, nil
}

// errNotJSON is the error of raw JSON that is none.
var errNotJSON = errors.New("raw message is not valid JSON")
