// SPDX-License-Identifier: Apache-2.0

package bank

import (
	"fmt"
	"strings"

	"github.com/karbor-project/karbor/pkg/fault"
)

// The error texts equal the original's: karbor: bank_plugin.py validate_key and
// validate_section. Unlike the original, a dot segment is refused everywhere: no key that karbor
// makes has one, and the original lets "a/../.." climb out of its section.
const (
	badKey     = `Only alphanumeric, underscore, dash, dots, at signs, and slashes are allowed. Key: "%s"`
	badDots    = `Invalid parameter: must not contain "." or ".." parts`
	badSection = `Invalid section. Must begin and end with a slash, and contain valid characters`
	noSection  = `Empty section`
)

// normalKey validates an object's key and returns its normal form, with one slash in front and
// between the parts. Absolute and relative keys are equivalent.
func normalKey(key string) (string, error) {
	if key == "" || strings.HasSuffix(key, "/") || !keyCharacters(key) {
		return "", fault.InvalidParameterValue(fmt.Sprintf(badKey, key))
	}
	if hasDotPart(key) {
		return "", fault.InvalidParameterValue(badDots)
	}
	return "/" + collapse(key), nil
}

// normalPrefix is normalKey for the prefix of a key, which may be empty or end with a slash. The
// normal form keeps the final slash, since "a/" does not match "ab".
func normalPrefix(prefix string) (string, error) {
	if !keyCharacters(prefix) {
		return "", fault.InvalidParameterValue(fmt.Sprintf(badKey, prefix))
	}
	if hasDotPart(prefix) {
		return "", fault.InvalidParameterValue(badDots)
	}
	parts := collapse(prefix)
	if parts != "" && strings.HasSuffix(prefix, "/") {
		parts += "/"
	}
	return "/" + parts, nil
}

// normalSection validates the path of a section and returns it with a slash at both ends.
func normalSection(path string) (string, error) {
	if path == "" {
		return "", fault.InvalidParameterValue(noSection)
	}
	if !keyCharacters(path) {
		return "", fault.InvalidParameterValue(badSection)
	}
	if hasDotPart(path) {
		return "", fault.InvalidParameterValue(badDots)
	}
	parts := collapse(path)
	if parts == "" {
		return "/", nil
	}
	return "/" + parts + "/", nil
}

// collapse drops empty parts: slashes at the ends and repeated ones.
func collapse(path string) string {
	parts := strings.Split(path, "/")
	kept := parts[:0]
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "/")
}

func hasDotPart(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func keyCharacters(s string) bool {
	for i := range len(s) {
		if !InKeys(rune(s[i])) {
			return false
		}
	}
	return true
}

// InKeys reports whether keys allow the character.
//
// karbor: bank_plugin.py Bank._KEY_VALIDATION
func InKeys(c rune) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
	case c == '/', c == '_', c == '.', c == '-', c == '@':
	default:
		return false
	}
	return true
}

// isKey reports whether a name is a key in its normal form.
func isKey(name string) bool {
	return strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && keyCharacters(name) &&
		!strings.Contains(name, "//") && !hasDotPart(name)
}
