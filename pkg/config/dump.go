// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// credentials is the user information of a URL.
var credentials = regexp.MustCompile(`://[^/@\s]+@`)

// Dump returns a line "group.name = value" for each option in the order of the
// table. Secret values, those that refer to a secret one, and user names and
// passwords in URLs are masked.
func (c *Config) Dump() []string {
	lines := make([]string, len(c.order))
	for i, name := range c.order {
		lines[i] = name.String() + " = " + c.values[name].show()
	}
	return lines
}

func (s setting) show() string {
	if s.secret && s.value != nil && s.value != "" {
		return mask
	}
	text := "<None>"
	switch value := s.value.(type) {
	case nil:
	case []string:
		text = strings.Join(value, ", ")
	case map[string]string:
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, key+":"+value[key])
		}
		text = strings.Join(pairs, ",")
	default:
		text = fmt.Sprint(value)
	}
	return credentials.ReplaceAllString(text, "://"+mask+"@")
}
