// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"
)

// evaluate expands and converts what a source gave, or the default.
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
			// oslo.config turns an empty number into None, which no caller
			// expects of an option that has a default: fall back to it.
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
