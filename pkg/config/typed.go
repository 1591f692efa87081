// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// typed converts a default that is a Go number or boolean.
func (o *Option) typed() (any, error) {
	switch value := o.Default.(type) {
	case int:
		return o.typedInt(int64(value))
	case int64:
		return o.typedInt(value)
	case float64:
		if err := o.holds(Float); err != nil {
			return nil, err
		}
		return value, o.checkFloat(value)
	case bool:
		return value, o.holds(Bool)
	}
	return nil, fmt.Errorf("a default of type %T is not supported", o.Default)
}

func (o *Option) typedInt(value int64) (any, error) {
	if o.Kind == Float {
		return float64(value), o.checkFloat(float64(value))
	}
	if err := o.holds(Int, Port); err != nil {
		return nil, err
	}
	return value, o.checkInt(value)
}

// holds checks that the Go type of the default fits the kind.
func (o *Option) holds(kinds ...Kind) error {
	if slices.Contains(kinds, o.Kind) {
		return nil
	}
	return fmt.Errorf("a default of type %T does not fit the kind %v", o.Default, o.Kind)
}

// pythonText is str(value) of Python, which is what a reference expands to.
func pythonText(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case bool:
		if value {
			return "True"
		}
		return "False"
	case float64:
		return pythonFloat(value)
	case []string:
		texts := make([]string, len(value))
		for i, text := range value {
			texts[i] = pythonQuote(text)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]string:
		var texts []string
		for key, text := range value {
			texts = append(texts, pythonQuote(key)+": "+pythonQuote(text))
		}
		slices.Sort(texts)
		return "{" + strings.Join(texts, ", ") + "}"
	}
	return fmt.Sprint(value)
}

// pythonFloat is repr: the shortest digits, with an exponent below 1e-4 and
// from 1e16 on.
func pythonFloat(value float64) string {
	switch {
	case math.IsInf(value, 1):
		return "inf"
	case math.IsInf(value, -1):
		return "-inf"
	case math.IsNaN(value):
		return "nan"
	}
	if size := math.Abs(value); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.FormatFloat(value, 'e', -1, 64)
	}
	text := strconv.FormatFloat(value, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// pythonQuote is repr of a text without control characters.
func pythonQuote(text string) string {
	text = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`).Replace(text)
	if !strings.Contains(text, "'") {
		return "'" + text + "'"
	}
	if !strings.Contains(text, `"`) {
		return `"` + text + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `\'`) + "'"
}
