// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Encoded is a result that is already JSON. A server checks it and sends it as it is,
// without encoding/json copying it, which suits answers that are requested much more
// often than they change. Nil is null; text that is not JSON, including empty text,
// fails the call.
type Encoded []byte

// MarshalJSON implements json.Marshaler.
func (e Encoded) MarshalJSON() ([]byte, error) {
	if e == nil {
		return null, nil
	}
	return e, nil
}

// Marshal is json.Marshal for untrusted values on their way to a peer. It returns an
// error for a value whose own encoder panics, for endless nesting and for text that no
// peer can read.
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

// encodeResult returns the JSON text of a handler's result, empty for null. The common
// types are written without reflection; encoding/json handles the rest.
func encodeResult(result any) (text []byte, err error) {
	switch raw := result.(type) {
	case Encoded:
		return raw, checkRaw(raw)
	case json.RawMessage:
		return raw, checkRaw(raw)
	}
	err = Guard(func() error {
		if err := checkNesting(result); err != nil {
			return err
		}
		text, err = appendJSON(make([]byte, 0, sizeOf(result, sizedLevels)), result)
		return err
	})
	return text, err
}

// checkRaw returns an error for text that is not JSON or that peers could not read.
// Empty text is null.
func checkRaw(raw []byte) error {
	switch {
	case raw == nil, validWithin(raw, maxNesting) && utf8.Valid(raw):
		return nil
	case validJSON(raw) && utf8.Valid(raw):
		return errTooDeep
	default:
		return errNotJSON
	}
}

func appendJSON(dst []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case string:
		if utf8.ValidString(v) {
			return appendQuoted(dst, v), nil
		}
	case json.RawMessage:
		return appendRaw(dst, v)
	case Context:
		return appendObject(dst, v, appendRaw)
	case map[string]json.RawMessage:
		return appendObject(dst, v, appendRaw)
	case map[string]any:
		return appendObject(dst, v, appendJSON)
	}
	text, err := json.Marshal(value)
	if err == nil {
		err = checkRaw(text)
	}
	return append(dst, text...), err
}

func appendRaw(dst []byte, raw json.RawMessage) ([]byte, error) {
	if raw == nil {
		return append(dst, "null"...), nil
	}
	return append(dst, raw...), checkRaw(raw)
}

// appendObject writes the members in the order of their names, as encoding/json does.
func appendObject[M ~map[string]V, V any](dst []byte, members M, value func([]byte, V) ([]byte, error)) ([]byte, error) {
	if members == nil {
		return append(dst, "null"...), nil
	}
	var room [24]string // most objects have fewer members
	names := room[:0]
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !utf8.ValidString(name) {
			return dst, errors.New("a name is not valid UTF-8")
		}
		dst = append(appendQuoted(dst, name), ':')
		var err error
		if dst, err = value(dst, members[name]); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// minResult is the buffer size for a result of unknown size.
const minResult = 64

// sizedLevels is the number of levels of a result that sizeOf visits.
const sizedLevels = 4

// sizeOf estimates the size of the JSON text, so that its buffer is allocated once.
func sizeOf(value any, levels int) int {
	switch v := value.(type) {
	case string:
		return len(v) + minResult
	case json.RawMessage:
		return len(v)
	case Context:
		return sizeOfRaw(v)
	case map[string]json.RawMessage:
		return sizeOfRaw(v)
	case map[string]any:
		size := minResult
		if levels == 0 {
			return size
		}
		for name, member := range v {
			size += len(name) + len(`"":,`) + sizeOf(member, levels-1)
		}
		return size
	default:
		return minResult
	}
}

func sizeOfRaw[M ~map[string]json.RawMessage](members M) int {
	size := len(`{}`)
	for name, member := range members {
		size += len(name) + len(`"":,`) + len(member)
	}
	return size
}

const (
	// maxNesting bounds the nesting of messages that are sent. Python's json reads
	// little more than 990 levels, and fewer when its stack is already in use.
	maxNesting = 900
	// maxSteps bounds consecutive pointers and interfaces, which nest without adding a
	// level.
	maxSteps = 4 * maxNesting
	// maxValues bounds the values of one result: a result whose parts are shared can be
	// small in memory and endless as text.
	maxValues = 1 << 24
)

var (
	errTooDeep = fmt.Errorf("the value is nested more than %d levels deep, or refers to itself", maxNesting)
	errTooMany = fmt.Errorf("the value has more than %d parts", maxValues)
)

// checkNesting returns an error for a value nested so deeply that the recursion of
// encoding/json would overflow the stack and end the process.
func checkNesting(value any) error {
	n := nesting{remaining: maxValues}
	return n.value(value, maxNesting)
}

// nesting walks a value before it is encoded.
type nesting struct {
	remaining int // values that may still come
}

// value handles the common result types itself and leaves the rest to reflection.
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
	if n.remaining--; n.remaining < 0 {
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

// shallow caches the results of isShallow.
var shallow sync.Map

// isShallow reports whether values of the type nest no deeper than its declaration
// shows: they hold no interface and nothing of their own type. A type that encodes
// itself counts as shallow, because it is responsible for its contents.
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

// flatType is isShallow for a type that occurs inside the given containers.
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

// isEncoded reports whether encoding/json encodes the field.
func isEncoded(f reflect.StructField) bool {
	return (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-"
}

// errNotJSON reports a raw message that is not valid JSON.
var errNotJSON = errors.New("raw message is not valid JSON")
