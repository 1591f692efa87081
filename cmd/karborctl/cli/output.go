// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// format is how answers are printed.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatValue format = "value"
)

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	switch known := format(strings.ToLower(text)); known {
	case formatTable, formatJSON, formatValue:
		*f = known
		return nil
	}
	return fmt.Errorf("want table, json or value")
}

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
