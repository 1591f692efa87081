// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"
)

// encodeResult gives the JSON text of a handler's result. What handlers return most
// is written without reflection; the rest is left to encoding/json. The text is
// empty for null.
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

// checkRaw refuses text that is not JSON, or that peers could not read. None at all
// is null.
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

// sizedLevels are the levels of a result whose sizes are looked at.
const sizedLevels = 4

// sizeOf guesses the size of the JSON text, so that it is allocated once.
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
