// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// resolver determines the value of each option: the command line wins over the
// environment, the files and the default, in this order.
type resolver struct {
	src      *Source
	files    []*file
	table    *table
	done     map[Name]setting
	wrong    map[Name]error
	override map[Name][]string
	busy     map[Name]bool // being resolved: to meet one again is a cycle
	warned   map[[2]Name]bool
	warnings []string
}

// errUnresolved ends the evaluation of an option that refers to an invalid option. Only
// the error of the latter is reported, once.
var errUnresolved = errors.New("refers to a wrong option")

func newResolver(src *Source, files []*file, t *table) *resolver {
	return &resolver{
		src: src, files: files, table: t,
		done: make(map[Name]setting), wrong: make(map[Name]error),
		override: canonicalOverrides(src.Overrides),
		busy:     make(map[Name]bool), warned: make(map[[2]Name]bool),
	}
}

func canonicalOverrides(overrides map[Name][]string) map[Name][]string {
	canonical := make(map[Name][]string, len(overrides))
	for name, texts := range overrides {
		canonical[name.canonical()] = append(canonical[name.canonical()], texts...)
	}
	return canonical
}

func (r *resolver) resolveAll() (*Config, error) {
	for _, name := range r.table.order {
		r.resolve(name)
	}
	if len(r.wrong) == 0 {
		return &Config{values: r.done, order: r.table.order, warnings: r.warnings, unknown: r.unknown()}, nil
	}
	var wrong []error
	for _, name := range r.table.order {
		if err := r.wrong[name]; err != nil && !errors.Is(err, errUnresolved) {
			wrong = append(wrong, err)
		}
	}
	return nil, errors.Join(wrong...)
}

// resolve evaluates a registered option once. It reports whether the option
// has a setting in done; otherwise its error is in wrong.
func (r *resolver) resolve(name Name) bool {
	if _, ok := r.done[name]; ok {
		return true
	}
	if r.wrong[name] != nil {
		return false
	}
	r.busy[name] = true
	defer delete(r.busy, name)

	option := r.table.options[name]
	s, err := r.evaluate(option, r.occurrences(option))
	if err != nil {
		r.wrong[name] = err
		return false
	}
	r.done[name] = s
	return true
}

// occurrences returns the values in the strongest source: one occurrence for a scalar,
// any number for a MultiString, none when no source sets the option.
func (r *resolver) occurrences(o *Option) []occurrence {
	names := o.names()
	for i, name := range names {
		var found []occurrence
		for _, text := range r.override[name] {
			found = append(found, occurrence{text, "command line"})
		}
		if len(found) == 0 {
			continue
		}
		if i > 0 {
			r.warn(name, names[0])
		}
		return o.last(found)
	}
	variable := EnvName(o.Group, o.Name)
	if text, ok := r.src.getenv(variable); ok {
		return []occurrence{{text, "environment " + variable}}
	}
	return r.fromFiles(o, names)
}

// fromFiles searches the last file first, and in each file the current name before
// former ones. The values of a MultiString add up over files and names (oslo.config:
// cfg.py _get_file_value).
func (r *resolver) fromFiles(o *Option, names []Name) []occurrence {
	var all []occurrence
	for _, f := range slices.Backward(r.files) {
		for i, name := range names {
			found := f.values(name)
			if len(found) == 0 {
				continue
			}
			if i > 0 {
				r.warn(name, names[0])
			}
			if o.Kind != MultiString {
				return o.last(found)
			}
			all = append(found, all...)
		}
	}
	return all
}

func (r *resolver) warn(old, current Name) {
	if r.warned[[2]Name{old, current}] {
		return
	}
	r.warned[[2]Name{old, current}] = true
	r.warnings = append(r.warnings, fmt.Sprintf(
		"option %q from group %q is deprecated, use option %q from group %q",
		old.Name, old.Group, current.Name, current.Group))
}

// EnvName returns the name of the variable that sets an option: OS_<GROUP>__<NAME>
// in upper case (oslo.config: sources/_environment.py get_name).
func EnvName(group, name string) string {
	n := Name{group, name}.canonical()
	return "OS_" + strings.ToUpper(n.Group) + "__" + strings.ToUpper(n.Name)
}

// evaluate expands and converts the value of a source, or the default.
func (r *resolver) evaluate(o *Option, given []occurrence) (setting, error) {
	s := setting{option: o, where: "default", secret: o.Secret}
	var text string
	var err error
	switch {
	case len(given) > 0:
		s.given = true
		s.where = given[len(given)-1].where
		text = joinTexts(given)
		s.value, err = r.convertGiven(&s, given)
		if s.value == nil && err == nil {
			// oslo.config turns an empty number into None, which no caller expects of
			// an option with a default, so the default applies.
			return r.evaluate(o, nil)
		}
	case o.Default != nil:
		text = fmt.Sprint(o.Default)
		s.value, err = r.convertDefault(&s)
	}
	if err == nil || errors.Is(err, errUnresolved) {
		return s, err
	}
	text = credentials.ReplaceAllString(text, "://"+mask+"@")
	if o.Secret {
		text = mask
	}
	name := o.name()
	return s, &ValueError{Where: s.where, Group: name.Group, Option: name.Name, Value: text, Reason: err.Error()}
}

func joinTexts(given []occurrence) string {
	texts := make([]string, len(given))
	for i, g := range given {
		texts[i] = g.text
	}
	return strings.Join(texts, "\n")
}

func (r *resolver) convertGiven(s *setting, given []occurrence) (any, error) {
	if s.option.Kind != MultiString {
		text, err := r.expand(s, given[0].text)
		if err != nil {
			return nil, err
		}
		return s.option.parse(text)
	}
	values := make([]string, 0, len(given))
	for _, g := range given {
		text, err := r.expand(s, g.text)
		if err == nil {
			err = s.option.choose(text)
		}
		if err != nil {
			s.where = g.where
			return nil, err
		}
		values = append(values, text)
	}
	return values, nil
}

func (r *resolver) convertDefault(s *setting) (any, error) {
	switch value := s.option.Default.(type) {
	case string:
		if s.option.Kind == MultiString && value == "" {
			return []string{}, nil
		}
		if s.option.Kind == MultiString {
			return r.expandAll(s, []string{value})
		}
		text, err := r.expand(s, value)
		if err != nil {
			return nil, err
		}
		return s.option.parse(text)
	case []string:
		return r.expandAll(s, value)
	case map[string]string:
		expanded := make(map[string]string, len(value))
		for key, text := range value {
			var err error
			if expanded[key], err = r.expand(s, text); err != nil {
				return nil, err
			}
		}
		return expanded, s.option.holds(Dict)
	}
	return s.option.typed()
}

func (r *resolver) expandAll(s *setting, texts []string) (any, error) {
	expanded := make([]string, len(texts))
	for i, text := range texts {
		var err error
		if expanded[i], err = r.expand(s, text); err != nil {
			return nil, err
		}
		if err = s.option.choose(expanded[i]); err != nil {
			return nil, err
		}
	}
	return expanded, s.option.holds(List, MultiString)
}

// reference is the pattern of string.Template with the names of oslo.config
// (cfg.py ConfigOpts.Template). A dollar sign before anything else is literal.
var reference = regexp.MustCompile(`\$(?:\$|([_a-zA-Z][._a-zA-Z0-9]*)|\{([_a-zA-Z][._a-zA-Z0-9]*)\})`)

// Escape returns text with its dollar signs doubled, so that Load reads it literally.
func Escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// expand replaces the references in a text by the values of the referenced options. The
// setting becomes secret when one of the options is secret.
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

// refer returns the value, as text, of the option that a reference names.
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

// find looks for a plain name in the group of the referring option and then in DEFAULT.
// A dotted name gives group and option exactly; DEFAULT cannot be its group (cfg.py
// StrSubWrapper).
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
