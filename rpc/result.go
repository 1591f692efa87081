// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"
)

// errNotJSON is the error of raw JSON that is none.
var errNotJSON = errors.New("raw message is not valid JSON")

// encodeResult gives the JSON text of a handler's result. What handlers return most
// is written without reflection; the rest is left to encoding/json.
func encodeResult(result any) ([]byte, error) {
	if raw, ok := result.(json.RawMessage); ok {
		if raw != nil && (!validJSON(raw) || !utf8.Valid(raw)) {
			return nil, errNotJSON
		}
		return raw, nil
	}
	return appendJSON(make([]byte, 0, sizeOf(result)), result)
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
	if err == nil && !utf8.Valid(text) { // of a raw message deep inside
		err = errNotJSON
	}
	return append(dst, text...), err
}

func appendRaw(dst []byte, raw json.RawMessage) ([]byte, error) {
	switch {
	case raw == nil:
		return append(dst, "null"...), nil
	case !validJSON(raw) || !utf8.Valid(raw):
		return dst, errNotJSON
	}
	return append(dst, raw...), nil
}

// appendObject writes the members in the order of their names, as encoding/json
// does.
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

// minResult is the room for a result of unknown size.
const minResult = 64

// sizeOf guesses the size of the JSON text, so that it is allocated once.
func sizeOf(value any) int {
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
		for name, member := range v {
			size += len(name) + len(`"":,`) + sizeOf(member)
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
