// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"fmt"
	"maps"
	"slices"
)

// Argument is one keyword argument that a method takes.
type Argument struct {
	name     string
	into     any
	required bool
}

// Required names an argument that a request must have; it is decoded into a
// pointer.
func Required(name string, into any) Argument { return Argument{name, into, true} }

// Optional names an argument that a request may leave out; what into points at is
// then left alone.
func Optional(name string, into any) Argument { return Argument{name, into, false} }

// Unpack decodes the arguments of the request. A missing, an unknown and an
// undecodable one is a TypeError, as it is when a Python method is called.
// Integers that land in an any stay exact, as json.Number.
func (r *Request) Unpack(arguments ...Argument) error {
	known := 0
	for _, a := range arguments {
		value, ok := r.Args[a.name]
		if !ok {
			if a.required {
				return r.typeError("missing 1 required positional argument: '%s'", a.name)
			}
			continue
		}
		known++
		if err := unmarshal(value, a.into); err != nil {
			return r.typeError("argument '%s': %v", a.name, err)
		}
	}
	if known == len(r.Args) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Args)) {
		if !slices.ContainsFunc(arguments, func(a Argument) bool { return a.name == name }) {
			return r.typeError("got an unexpected keyword argument '%s'", name)
		}
	}
	return nil
}

func (r *Request) typeError(format string, a ...any) error {
	return NewFailure(builtins, "TypeError", r.Method+"() "+fmt.Sprintf(format, a...))
}
