// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The texts that Python's int and float accept, which the types of
// oslo_config/types.py call.
var (
	integerText = regexp.MustCompile(`^[+-]?[0-9]+(_[0-9]+)*$`)
	floatText   = regexp.MustCompile(`(?i)^[+-]?(([0-9]+(_[0-9]+)*)(\.([0-9]+(_[0-9]+)*)?)?|\.[0-9]+(_[0-9]+)*)(e[+-]?[0-9]+(_[0-9]+)*)?$|^[+-]?(inf|infinity|nan)$`)
)

// parse converts an expanded text. An empty number is nil. Errors tell what is
// allowed and never repeat the value, which may be secret.
func (o *Option) parse(text string) (any, error) {
	switch o.Kind {
	case Int, Port:
		return o.parseInt(trim(text))
	case Float:
		return o.parseFloat(trim(text))
	case Bool:
		return parseBool(text)
	case List:
		return o.parseList(text)
	case Dict:
		return parseDict(text)
	case HostAddress:
		return parseHost(text)
	}
	return text, o.choose(text)
}

// bounds are the inclusive limits of the option, those of a port included.
func (o *Option) bounds() (low, high *int64) {
	low, high = o.Min, o.Max
	if o.Kind == Port && low == nil {
		low = Bound(0)
	}
	if o.Kind == Port && high == nil {
		high = Bound(math.MaxUint16)
	}
	return low, high
}

func (o *Option) parseInt(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if !integerText.MatchString(text) {
		return nil, o.want("an integer")
	}
	number, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return nil, o.want("a 64-bit integer")
	}
	return number, o.checkInt(number)
}

func (o *Option) checkInt(number int64) error {
	if len(o.Choices) > 0 { // choices stand in for bounds, types.py Number
		return o.choose(strconv.FormatInt(number, 10))
	}
	low, high := o.bounds()
	if (low != nil && number < *low) || (high != nil && number > *high) {
		return o.want("an integer")
	}
	return nil
}

func (o *Option) parseFloat(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if !floatText.MatchString(text) {
		return nil, o.want("a number")
	}
	number, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // Python too reads 1e999 as infinity
		return nil, o.want("a number")
	}
	return number, o.checkFloat(number)
}

func (o *Option) checkFloat(number float64) error {
	if (o.Min != nil && number < float64(*o.Min)) || (o.Max != nil && number > float64(*o.Max)) {
		return o.want("a number")
	}
	return nil
}

// want tells what the option takes: a noun and the bounds.
func (o *Option) want(noun string) error {
	low, high := o.bounds()
	switch {
	case low != nil && high != nil:
		return fmt.Errorf("want %s from %d to %d", noun, *low, *high)
	case low != nil:
		return fmt.Errorf("want %s of at least %d", noun, *low)
	case high != nil:
		return fmt.Errorf("want %s of at most %d", noun, *high)
	}
	return errors.New("want " + noun)
}

func (o *Option) choose(text string) error {
	if len(o.Choices) == 0 || slices.Contains(o.Choices, text) {
		return nil
	}
	return errors.New("want one of " + strings.Join(o.Choices, ", "))
}

func parseBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return nil, errors.New("want a boolean: true, 1, on, yes, false, 0, off or no")
}

func (o *Option) parseList(text string) (any, error) {
	items := []string{}
	text = strings.TrimRight(trim(text), ",")
	if text == "" {
		return items, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = trim(item)
		if err := o.choose(item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// parseDict reads name:value pairs. A part without a colon belongs to the pair
// that begins with it and goes on behind the comma (types.py Dict).
func parseDict(text string) (any, error) {
	pairs := map[string]string{}
	if text = trim(text); text == "" {
		return pairs, nil
	}
	begun := ""
	parts := strings.Split(text, ",")
	for i, part := range parts {
		key, value, ok := strings.Cut(begun+part, ":")
		if !ok && i == len(parts)-1 {
			return nil, errors.New("want name:value pairs separated by commas")
		}
		if !ok {
			begun += part + ","
			continue
		}
		begun, key = "", trim(key)
		if key == "" {
			return nil, errors.New("want a name before each colon")
		}
		if _, twice := pairs[key]; twice {
			return nil, errors.New("want each name once")
		}
		pairs[key] = trim(value)
	}
	return pairs, nil
}
