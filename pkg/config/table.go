// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
)

// table finds options by canonical name and keeps their order.
type table struct {
	options map[Name]*Option
	order   []Name
	groups  map[string]bool // as declared: references name groups exactly
}

var (
	validName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
	validGroup = regexp.MustCompile(`^[^\s\[\]][^\r\n\[\]]*$`)
)

// newTable checks the declarations. The same option may be declared twice, by
// two packages that share it, when both say the same.
func newTable(options []Option) (*table, error) {
	t := &table{options: make(map[Name]*Option), groups: make(map[string]bool)}
	var wrong []error
	for i := range options {
		option := &options[i]
		name := option.name()
		if err := option.check(); err != nil {
			wrong = append(wrong, fmt.Errorf("option table: %s: %w", name, err))
			continue
		}
		if known, ok := t.options[name]; ok {
			if !reflect.DeepEqual(known, option) {
				wrong = append(wrong, fmt.Errorf("option table: %s: declared twice in different ways", name))
			}
			continue
		}
		t.options[name] = option
		t.order = append(t.order, name)
		if name.Group != DefaultGroup {
			t.groups[option.Group] = true
		}
	}
	return t, errors.Join(wrong...)
}

func (o *Option) check() error {
	switch {
	case !validName.MatchString(o.Name):
		return errors.New("the name is not a word of letters, digits, - and _")
	case o.Group != "" && !validGroup.MatchString(o.Group):
		return errors.New("the group cannot be written as a section")
	case o.Kind < 0 || int(o.Kind) >= len(kindNames):
		return errors.New("the kind is unknown")
	case len(o.Short) > 1:
		return errors.New("the short flag has more than one letter")
	case o.Min != nil && o.Max != nil && *o.Min > *o.Max:
		return errors.New("the bounds leave no value")
	}
	return nil
}
