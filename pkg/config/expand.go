// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// reference is the pattern of string.Template with the names of oslo.config
// (cfg.py ConfigOpts.Template). A dollar sign before anything else is literal.
var reference = regexp.MustCompile(`\$(?:\$|([_a-zA-Z][._a-zA-Z0-9]*)|\{([_a-zA-Z][._a-zA-Z0-9]*)\})`)

// Escape returns text with its dollar signs doubled, so that it is read
// literally.
func Escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// expand replaces the references in a text by the values of the options that
// they name. The setting becomes secret when one of those is.
func (r *resolver) expand(s *setting, text string) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	text = strings.ReplaceAll(text, `\$`, "$$") // cfg.py _substitute
	var out strings.Builder
	at := 0
	for _, m := range reference.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[at:m[0]])
		at = m[1]
		name := ""
		switch {
		case m[2] >= 0:
			name = text[m[2]:m[3]]
		case m[4] >= 0:
			name = text[m[4]:m[5]]
		default:
			out.WriteByte('$')
			continue
		}
		value, err := r.refer(s, name)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
	}
	out.WriteString(text[at:])
	return out.String(), nil
}

// refer returns the text, of the option that a reference names.
func (r *resolver) refer(s *setting, reference string) (string, error) {
	name, ok := r.find(s.option, reference)
	if !ok {
		if s.option.Secret {
			return "", errors.New("holds a reference that names no option; write $$ for a dollar sign")
		}
		return "", fmt.Errorf("$%s names no option; write $$ for a dollar sign", reference)
	}
	if r.busy[name] {
		return "", errors.New("refers to itself")
	}
	if !r.resolve(name) {
		return "", errUnresolved
	}
	target := r.done[name]
	s.secret = s.secret || target.secret
	return pythonText(target.value), nil
}

// find looks for a plain name in the group of the option that refers and then
// in DEFAULT. A dotted one names group and option exactly, and DEFAULT is no
// group in this respect (cfg.py StrSubWrapper).
func (r *resolver) find(from *Option, reference string) (Name, bool) {
	group, option, dotted := strings.Cut(reference, ".")
	if dotted {
		name := Name{canonicalGroup(group), option}
		return name, r.table.groups[group] && r.table.options[name] != nil
	}
	for _, name := range []Name{{from.name().Group, reference}, {DefaultGroup, reference}} {
		if r.table.options[name] != nil {
			return name, true
		}
	}
	return Name{}, false
}
