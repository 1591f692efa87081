// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// errNotObject is the error for valid JSON that is not an object.
var errNotObject = errors.New("not a JSON object")

// unmarshal decodes one JSON text. Integers beyond 2^53 that are decoded into an any
// stay exact.
func unmarshal(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// eachMember calls visit with the key and value of each member of a JSON object that
// validJSON has accepted. A key without escapes and each value are slices of text.
// Without eachMember the hot path would need a generic decoder and its map.
func eachMember(text []byte, visit func(key, value []byte)) error {
	i := skipSpace(text, 0)
	if i == len(text) || text[i] != '{' {
		return errNotObject
	}
	i = skipSpace(text, i+1)
	for text[i] != '}' {
		end := skipValue(text, i)
		key := unquoteKey(text[i:end])
		i = skipSpace(text, end) // at the colon
		i = skipSpace(text, i+1) // at the value
		end = skipValue(text, i) // behind it
		visit(key, text[i:end:end])
		i = skipSpace(text, end)
		if text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	return nil
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index after the value that starts at i.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			i = skipString(text, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r', ':':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

func skipString(text []byte, i int) int {
	for i++; ; i++ {
		switch c := text[i]; {
		case plain[c]:
		case c == '"':
			return i + 1
		default:
			i++ // an escape
		}
	}
}

func unquoteKey(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return appendUnquoted(nil, quoted)
}

// appendUnquoted appends the text of a valid JSON string. Unpaired surrogates
// become U+FFFD, as in encoding/json.
func appendUnquoted(dst, quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:4] {
		switch {
		case c >= 'a':
			c = c - 'a' + 10
		case c >= 'A':
			c = c - 'A' + 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends text as a JSON string. text must be valid UTF-8.
func appendQuoted[T ~string | ~[]byte](dst []byte, text T) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends text as the inside of a JSON string.
func appendEscaped[T ~string | ~[]byte](dst []byte, text T) []byte {
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if plain[c] {
			continue
		}
		dst = append(dst, text[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	return append(dst, text[start:]...)
}

// textOf returns the text of a JSON string and reports whether value is one.
func textOf(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	return string(appendUnquoted(nil, value)), true
}

func isNull(value []byte) bool { return len(value) == 0 || string(value) == "null" }

// maxDepth bounds the nesting of JSON values, as encoding/json does.
const maxDepth = 10000

// plain reports for each byte whether it stands for itself in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// validJSON reports whether text is one JSON value. It takes a fifth of the time of
// json.Valid, which matters because every message is checked twice, as envelope and as
// payload.
func validJSON(text []byte) bool { return validWithin(text, maxDepth) }

// validWithin is validJSON with a bound on the nesting.
func validWithin(text []byte, levels int) bool {
	i := validValue(text, skipSpace(text, 0), maxDepth-levels)
	return i >= 0 && skipSpace(text, i) == len(text)
}

// validValue returns the index after the value that starts at i, or -1.
func validValue(t []byte, i, depth int) int {
	if i >= len(t) {
		return -1
	}
	switch c := t[i]; {
	case c == '"':
		return validString(t, i)
	case (c == '{' || c == '[') && depth == maxDepth:
		return -1
	case c == '{':
		return validObject(t, i, depth+1)
	case c == '[':
		return validArray(t, i, depth+1)
	case c == 't':
		return validWord(t, i, "true")
	case c == 'f':
		return validWord(t, i, "false")
	case c == 'n':
		return validWord(t, i, "null")
	default:
		return validNumber(t, i)
	}
}

func validObject(t []byte, i, depth int) int {
	i = skipSpace(t, i+1)
	if i < len(t) && t[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(t) || t[i] != '"' {
			return -1
		}
		if i = validString(t, i); i < 0 {
			return -1
		}
		if i = skipSpace(t, i); i >= len(t) || t[i] != ':' {
			return -1
		}
		var more bool
		if i, more = validElement(t, i+1, depth, '}'); !more {
			return i
		}
	}
}

func validArray(t []byte, i, depth int) int {
	i = skipSpace(t, i+1)
	if i < len(t) && t[i] == ']' {
		return i + 1
	}
	for {
		var more bool
		if i, more = validElement(t, i, depth, ']'); !more {
			return i
		}
	}
}

// validElement checks a value and the delimiter after it. It returns the index of the
// next element or of the end of the container.
func validElement(t []byte, i, depth int, end byte) (next int, more bool) {
	if i = validValue(t, skipSpace(t, i), depth); i < 0 {
		return -1, false
	}
	if i = skipSpace(t, i); i >= len(t) {
		return -1, false
	}
	switch t[i] {
	case ',':
		return skipSpace(t, i+1), true
	case end:
		return i + 1, false
	default:
		return -1, false
	}
}

func validString(t []byte, i int) int {
	for i++; i < len(t); i++ {
		c := t[i]
		if plain[c] {
			continue
		}
		if c == '"' {
			return i + 1
		}
		if c != '\\' {
			return -1
		}
		if i++; i >= len(t) {
			return -1
		}
		switch t[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if i+4 >= len(t) || !isHex4(t[i+1:i+5]) {
				return -1
			}
			i += 4
		default:
			return -1
		}
	}
	return -1
}

func isHex4(s []byte) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func validWord(t []byte, i int, word string) int {
	if len(t)-i < len(word) || string(t[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func validNumber(t []byte, i int) int {
	if t[i] == '-' {
		i++
	}
	switch {
	case i >= len(t):
		return -1
	case t[i] == '0':
		i++
	default:
		if i = validDigits(t, i); i < 0 {
			return -1
		}
	}
	if i < len(t) && t[i] == '.' {
		if i = validDigits(t, i+1); i < 0 {
			return -1
		}
	}
	if i < len(t) && (t[i] == 'e' || t[i] == 'E') {
		i++
		if i < len(t) && (t[i] == '+' || t[i] == '-') {
			i++
		}
		return validDigits(t, i)
	}
	return i
}

// validDigits requires at least one digit.
func validDigits(t []byte, i int) int {
	start := i
	for i < len(t) && t[i] >= '0' && t[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
