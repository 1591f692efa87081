// SPDX-License-Identifier: Apache-2.0

package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Limits of JSON values that Python programs can read. Python refuses to convert an
// integer of more digits (sys.int_info.default_max_str_digits), and its stack overflows
// some levels deeper, with everything that an RPC wraps around a value.
const (
	MaxDigits = 4300
	MaxDepth  = 100
)

// ErrUnreadable reports JSON that a Python program fails to read.
var ErrUnreadable = errors.New("no Python program could read it")

// Check returns ErrUnreadable for a valid JSON text with a number of more than
// MaxDigits digits, or with values nested more than depth levels deep. It does not
// check that the text is valid.
func Check(raw []byte, depth int) error {
	level, digits := 0, 0
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c >= '0' && c <= '9' {
			if digits++; digits > MaxDigits {
				return fmt.Errorf("a number has more than %d digits: %w", MaxDigits, ErrUnreadable)
			}
			continue
		}
		digits = 0
		switch c {
		case '"':
			i = endOfString(raw, i)
		case '[', '{':
			if level++; level > depth {
				return fmt.Errorf("values are nested more than %d levels deep: %w", depth, ErrUnreadable)
			}
		case ']', '}':
			level--
		}
	}
	return nil
}

// CheckReadable is Check for a value that may be a string containing JSON, as
// extra_info is: the JSON in the string is checked, too.
func CheckReadable(value json.RawMessage, depth int) error {
	if err := Check(value, depth); err != nil {
		return err
	}
	var text string
	if len(value) > 0 && value[0] == '"' && json.Unmarshal(value, &text) == nil && json.Valid([]byte(text)) {
		return Check([]byte(text), depth)
	}
	return nil
}

// End returns the length of the first value in a valid JSON text without leading space.
func End(raw []byte) int {
	switch raw[0] {
	case '"':
		return endOfString(raw, 0) + 1
	case '[', '{':
		for i, level := 0, 0; i < len(raw); i++ {
			switch raw[i] {
			case '"':
				i = endOfString(raw, i)
			case '[', '{':
				level++
			case ']', '}':
				if level--; level == 0 {
					return i + 1
				}
			}
		}
	}
	if end := bytes.IndexAny(raw, ",:]} \t\r\n"); end >= 0 {
		return end
	}
	return len(raw)
}

// endOfString returns the index of the quote that ends the string that begins at
// raw[i], or the index of the last byte.
func endOfString(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return i
}
