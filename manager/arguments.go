// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource/pyjson"
)

// arguments reads the keyword arguments of one call. It remembers the first argument of a wrong
// type; done reports that error, and unknown arguments. Errors never contain values, since some are
// secrets.
type arguments struct {
	values  map[string]json.RawMessage
	message operation.Message // the message of the call
	version string            // requested API version; empty means the first
	asked   map[string]bool
	err     error
}

// newArguments takes the arguments of a call. It refuses values that callers in Python could not
// read, since they are sent back in answers.
func newArguments(values map[string]json.RawMessage, message operation.Message) *arguments {
	a := &arguments{values: values, message: message, asked: make(map[string]bool, len(values))}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := pyjson.CheckReadable(values[name], pyjson.MaxDepth); err != nil {
			a.err = fault.InvalidInput("argument " + name + ": " + err.Error())
			break
		}
	}
	return a
}

// done returns InvalidInput if an argument was invalid or is unknown to the method.
func (a *arguments) done() error {
	if a.err != nil {
		return a.err
	}
	var unknown []string
	for name := range a.values {
		if !a.asked[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fault.InvalidInput("unexpected argument " + strings.Join(unknown, ", "))
	}
	return nil
}

func (a *arguments) fail(name, want string, have json.RawMessage) {
	a.refuse(name, want, kindOf(have))
}

func (a *arguments) refuse(name, want, have string) {
	if a.err == nil {
		a.err = fault.InvalidInput(fmt.Sprintf("argument %s: want %s, got %s", name, want, have))
	}
}

// raw returns an argument, or nil if it is absent or null.
func (a *arguments) raw(name string) json.RawMessage {
	a.asked[name] = true
	value := a.values[name]
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	return value
}

// text returns an optional string.
func (a *arguments) text(name string) string {
	value := a.raw(name)
	if value == nil {
		return ""
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		a.fail(name, "a string", value)
	}
	return s
}

// required returns a mandatory string.
func (a *arguments) required(name string) string {
	if a.raw(name) == nil && a.err == nil {
		a.err = fault.InvalidInput("argument " + name + " is missing")
	}
	return a.text(name)
}

// boolean returns an optional boolean; absent means false.
func (a *arguments) boolean(name string) bool {
	value := a.raw(name)
	if value == nil {
		return false
	}
	var b bool
	if json.Unmarshal(value, &b) != nil {
		a.fail(name, "true or false", value)
	}
	return b
}

// dryRun returns the argument dry_run, which version 1.0 does not have.
func (a *arguments) dryRun() bool { return !a.original() && a.boolean("dry_run") }

// limit returns an optional number of entries; 0 means all. karbor-api sends a number, other
// callers send it as a string.
func (a *arguments) limit(name string) int {
	value := a.raw(name)
	if value == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.Trim(value, `"`)), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		a.fail(name, "a whole number that is not negative", value)
		return 0
	}
	return int(n)
}

// texts returns an optional list of strings. A single string counts as a list of one, and null
// elements are empty strings.
func (a *arguments) texts(name string) []string {
	value := a.raw(name)
	if value == nil {
		return nil
	}
	var one string
	if json.Unmarshal(value, &one) == nil {
		return []string{one}
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		a.fail(name, "a list of strings", value)
		return nil
	}
	texts := make([]string, len(list))
	for i, element := range list {
		if json.Unmarshal(element, &texts[i]) != nil {
			a.fail(fmt.Sprintf("%s[%d]", name, i), "a string", element)
		}
	}
	return texts
}

// object returns an optional JSON object.
func (a *arguments) object(name string) map[string]json.RawMessage {
	value := a.raw(name)
	if value == nil {
		return nil
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(value, &o) != nil {
		a.fail(name, "an object", value)
	}
	return o
}

// spread turns the members of an object argument into arguments. The system's original
// specification passes options that way. Arguments of the call take precedence over members of the
// same name.
func (a *arguments) spread(name string) {
	members := a.object(name)
	if members == nil {
		return
	}
	values := maps.Clone(members)
	maps.Copy(values, a.values)
	a.values = values
}

// kindOf names the type of a JSON value.
func kindOf(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "nothing"
	}
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
