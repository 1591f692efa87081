// SPDX-License-Identifier: Apache-2.0

package cloudtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Conf is the content of a configuration file: options by section.
type Conf map[string]map[string]string

// Set sets an option.
func (c Conf) Set(section, option, value string) {
	if c[section] == nil {
		c[section] = map[string]string{}
	}
	c[section][option] = value
}

func (c Conf) String() string {
	var b strings.Builder
	for _, section := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "[%s]\n", section)
		c.write(&b, section)
	}
	return b.String()
}

func (c Conf) write(b *strings.Builder, section string) {
	for _, option := range slices.Sorted(maps.Keys(c[section])) {
		fmt.Fprintf(b, "%s = %s\n", option, c[section][option])
	}
}

// edited returns the text of a configuration file with these options in place of
// its own. What it does not name stays, plugin lines too.
func (c Conf) edited(text string) string {
	var b strings.Builder
	section, seen := "", map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "[") {
			b.WriteString(line)
			section = strings.Trim(strings.TrimSpace(line), "[]")
			seen[section] = true
			c.write(&b, section)
			continue
		}
		option, _, found := strings.Cut(line, "=")
		if _, ours := c[section][strings.TrimSpace(option)]; !found || !ours {
			b.WriteString(line)
		}
	}
	rest := Conf{}
	for section, options := range c {
		if !seen[section] {
			rest[section] = options
		}
	}
	return b.String() + "\n" + rest.String()
}
