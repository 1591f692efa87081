// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// format is how answers are printed.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatValue format = "value"
	formatYAML  format = "yaml"
	formatCSV   format = "csv"
)

// formats are all, as help and errors name them.
var formats = []format{formatTable, formatJSON, formatYAML, formatCSV, formatValue}

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	known := format(strings.ToLower(text))
	if !slices.Contains(formats, known) {
		return fmt.Errorf("want table, json, yaml, csv or value")
	}
	*f = known
	return nil
}

// whole reports whether answers are shown as they come, with all that they have.
func (f format) whole() bool { return f == formatJSON || f == formatYAML }

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// seconds is a length of time; a number without unit counts seconds.
type seconds time.Duration

// Set implements pflag.Value.
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		if d, err = time.ParseDuration(text + "s"); err != nil {
			return fmt.Errorf("want a time such as 10s, 1m30s or 90")
		}
	}
	if d < time.Second {
		return fmt.Errorf("want at least 1s")
	}
	*s = seconds(d)
	return nil
}

// String implements pflag.Value.
func (s *seconds) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

// Type implements pflag.Value.
func (s *seconds) Type() string { return "duration" }

// members keeps the named members of an answer, or of each of a list, in that order. Case
// does not matter.
func members(answer json.RawMessage, names []string) (json.RawMessage, error) {
	if len(names) == 0 {
		return answer, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(answer, &list) == nil {
		for i := range list {
			var err error
			if list[i], err = members(list[i], names); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(answer, &all) != nil {
		return answer, nil // it has none
	}
	known := slices.Sorted(maps.Keys(all))
	var out bytes.Buffer
	for i, name := range names {
		at := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if at < 0 {
			return nil, usagef("no member %q; there are: %s", name, strings.Join(known, ", "))
		}
		fmt.Fprintf(&out, "%c%s:%s", "{,"[min(i, 1)], quoted(known[at]), all[known[at]])
	}
	return append(out.Bytes(), '}'), nil
}

func quoted(text string) []byte {
	out, _ := json.Marshal(text) // a string encodes
	return out
}

// decode reads an answer; its shape is the worker's to keep.
func decode(answer json.RawMessage, v any) error {
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("the worker's answer has another shape than expected: %w", err)
	}
	return nil
}

// textOf shows a JSON value in a cell: a string without quotes, nothing for
// null.
func textOf(value json.RawMessage) string {
	var text string
	switch {
	case len(value) == 0 || string(value) == "null":
		return ""
	case json.Unmarshal(value, &text) == nil:
		return text
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return string(value)
	}
	return compact.String()
}
