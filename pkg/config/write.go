// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Assignment is one "name = value" of a file to write. Value is the text before
// references are expanded; Escape makes a text literal. An empty Group is DEFAULT.
type Assignment struct{ Group, Name, Value string }

// Write writes assignments in order, with a section header wherever the group changes,
// so that oslo.config and this package read the same values back. It writes nothing
// when the grammar cannot represent one of them: line breaks cannot be quoted, so a
// line of a value must not be empty or, from the second on, begin or end with blanks.
func Write(w io.Writer, assignments []Assignment) error {
	var text strings.Builder
	section := ""
	for i, a := range assignments {
		lines, err := a.lines()
		if err != nil {
			return fmt.Errorf("writing option %s: %w", Name{a.Group, a.Name}, err)
		}
		group := a.Group
		if group == "" {
			group = DefaultGroup
		}
		if i == 0 || group != section {
			section = group
			fmt.Fprintf(&text, "%s[%s]\n", blankLine(i > 0), group)
		}
		text.WriteString(strings.Join(lines, "\n") + "\n")
	}
	out := bufio.NewWriter(w)
	out.WriteString(text.String()) // Flush returns the error
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing options: %w", err)
	}
	return nil
}

func blankLine(wanted bool) string {
	if wanted {
		return "\n"
	}
	return ""
}

func (a Assignment) lines() ([]string, error) {
	if strings.ContainsAny(a.Group, "\r\n") || !utf8.ValidString(a.Group) {
		return nil, errors.New("the group is not one line of text")
	}
	if a.Name == "" || a.Name != trim(a.Name) || strings.ContainsAny(a.Name, "=:\r\n") ||
		strings.ContainsAny(a.Name[:1], "[#;") || !utf8.ValidString(a.Name) {
		return nil, errors.New("the name cannot be written")
	}
	lines, err := encode(a.Value)
	if err != nil {
		return nil, err
	}
	lines[0] = strings.TrimRight(a.Name+" = "+lines[0], " ")
	return lines, nil
}

// encode returns the lines of a value: the first with quotes where needed, the others
// indented.
func encode(value string) ([]string, error) {
	if !utf8.ValidString(value) || strings.Contains(value, "\r") {
		return nil, errors.New("the value holds bytes that a file cannot")
	}
	lines := strings.Split(value, "\n")
	if trim(lines[0]) != lines[0] || unquote(lines[0]) != lines[0] {
		lines[0] = `"` + lines[0] + `"`
	}
	for i, line := range lines[1:] {
		if line == "" || trim(line) != line {
			return nil, errors.New("a line of the value is empty or begins or ends with blanks")
		}
		lines[i+1] = "    " + line
	}
	return lines, nil
}
