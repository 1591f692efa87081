// SPDX-License-Identifier: Apache-2.0

// Package pyjson writes JSON text as Python's json.dumps does by default, for
// data that Python programs compare or keep byte for byte: ", " and ": "
// between items, everything outside printable ASCII escaped.
package pyjson

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrInvalid reports text that is not one JSON value.
var ErrInvalid = errors.New("invalid JSON")

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendUnit(dst, uint16(c))
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		dst = appendRune(dst, r)
		i += size
	}
	return append(dst, '"')
}

// Append appends the JSON value raw, respaced and escaped: what
// json.dumps(json.loads(raw)) gives, except that a key repeated in an object
// stays repeated and a number beyond the range of a float stays as it is. Key
// order is kept. A nil raw is null.
func Append(dst, raw []byte) ([]byte, error) {
	if raw == nil {
		return append(dst, "null"...), nil
	}
	if !json.Valid(raw) {
		return dst, ErrInvalid
	}
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == ',' || c == ':':
			dst = append(dst, c, ' ')
			i++
		case c == '"':
			dst, i = appendQuoted(dst, raw, i)
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(raw) && isNumber(raw[end]) {
				end++
			}
			dst = appendNumber(dst, raw[i:end])
			i = end
		default: // brackets and the letters of true, false, null
			dst = append(dst, c)
			i++
		}
	}
	return dst, nil
}

func isNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// appendQuoted copies the string that begins at raw[i], a quote, and returns
// the index after it. Escapes are handled unit by unit, because Python keeps a
// lone surrogate that a Go string could not hold.
func appendQuoted(dst, raw []byte, i int) ([]byte, int) {
	dst = append(dst, '"')
	for i++; raw[i] != '"'; {
		if raw[i] != '\\' {
			r, size := utf8.DecodeRune(raw[i:])
			dst = appendRune(dst, r)
			i += size
			continue
		}
		switch c := raw[i+1]; c {
		case 'u':
			unit, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
			dst = appendUnit(dst, uint16(unit))
			i += 6
		case '/':
			dst = append(dst, '/')
			i += 2
		default:
			dst = append(dst, '\\', c)
			i += 2
		}
	}
	return append(dst, '"'), i + 1
}

func appendRune(dst []byte, r rune) []byte {
	if r > 0xffff {
		hi, lo := utf16.EncodeRune(r)
		return appendUnit(appendUnit(dst, uint16(hi)), uint16(lo))
	}
	return appendUnit(dst, uint16(r))
}

// appendUnit appends one UTF-16 unit.
func appendUnit(dst []byte, u uint16) []byte {
	switch u {
	case '"', '\\':
		return append(dst, '\\', byte(u))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	if u >= ' ' && u <= '~' {
		return append(dst, byte(u))
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}

// appendNumber appends a number as Python prints it: an integer of any size as
// it is, anything else as the shortest text of the float.
func appendNumber(dst, text []byte) []byte {
	integer := true
	for _, c := range text[1:] {
		integer = integer && c >= '0' && c <= '9'
	}
	if integer {
		if string(text) == "-0" {
			text = text[1:]
		}
		return append(dst, text...)
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return append(dst, text...)
	}
	return AppendFloat(dst, f)
}

// AppendFloat appends the repr of a finite float: the shortest digits that
// read back the same, with an exponent below 1e-4 and from 1e16 on.
func AppendFloat(dst []byte, f float64) []byte {
	if a := math.Abs(f); f != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}
