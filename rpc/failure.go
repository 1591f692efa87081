// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// RemoteError is an error that knows which Python exception it is.
type RemoteError interface {
	error
	// Module is the Python module of the class, "builtins" for Python's own.
	Module() string
	// Class is the name of the exception class.
	Class() string
	// Args are the positional arguments of its constructor.
	Args() []any
	// Kwargs are the keyword arguments of its constructor.
	Kwargs() map[string]any
}

// Failure is an exception as it crosses the wire, and the error that a call
// returns when the server raised one. Message is Python's str(exception).
// oslo.messaging: common.py serialize_remote_exception
type Failure struct {
	Class     string
	Module    string
	Message   string
	Traceback []string
	Args      []any
	Kwargs    map[string]any
}

// Error gives class and message as Python prints them.
func (f *Failure) Error() string {
	if f.Message == "" {
		return f.Class
	}
	return f.Class + ": " + f.Message
}

// Is reports whether the failure is of a Python class; an empty module matches
// every module.
func (f *Failure) Is(target error) bool {
	t, ok := target.(*Failure)
	return ok && t.Class == f.Class && (t.Module == "" || t.Module == f.Module)
}

// NewFailure is a failure of the class with the message as its only argument.
func NewFailure(module, class, message string) *Failure {
	return &Failure{Class: class, Module: module, Message: message, Args: []any{message}}
}

// failureOf finds the wire form of a handler's error. generic serves errors that
// do not know their Python class.
func failureOf(err error, generic func(error) *Failure) *Failure {
	var remote RemoteError
	if errors.As(err, &remote) {
		return &Failure{
			Class: remote.Class(), Module: remote.Module(), Message: remote.Error(),
			Args: remote.Args(), Kwargs: remote.Kwargs(),
		}
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	if f = generic(err); f != nil {
		return f
	}
	return runtimeError(err)
}

// runtimeError is the failure of an error that nobody gave a class.
func runtimeError(err error) *Failure {
	return NewFailure(builtins, "RuntimeError", err.Error())
}

// builtins is the module of Python's own exceptions; Python 2 said "exceptions".
const builtins = "builtins"

// remoteSuffix marks the classes that Python clients derive for exceptions from
// afar; it is stripped when one is passed on. oslo.messaging: common.py
const remoteSuffix = "_Remote"

// wireFailure has all six keys: Python clients need the ones it reads to be
// present and of the right type.
type wireFailure struct {
	Class   string         `json:"class"`
	Module  string         `json:"module"`
	Message string         `json:"message"`
	TB      []string       `json:"tb"`
	Args    []any          `json:"args"`
	Kwargs  map[string]any `json:"kwargs"`
}

// encode gives the JSON object that the failure member holds as a string.
// Arguments that cannot be encoded are replaced by the message alone.
func (f *Failure) encode() []byte {
	w := wireFailure{
		Class: strings.TrimSuffix(f.Class, remoteSuffix), Module: strings.TrimSuffix(f.Module, remoteSuffix),
		Message: f.Message, TB: f.Traceback, Args: f.Args, Kwargs: f.Kwargs,
	}
	if w.TB == nil {
		w.TB = []string{}
	}
	if w.Args == nil {
		w.Args = []any{}
	}
	if w.Kwargs == nil {
		w.Kwargs = map[string]any{}
	}
	text, err := json.Marshal(w)
	if err == nil {
		return text
	}
	w.Args, w.Kwargs = []any{f.Message}, map[string]any{}
	// Strings alone always encode.
	text, _ = json.Marshal(w)
	return text
}

// decodeFailure reads the text of a failure member. Absent keys stay zero.
func decodeFailure(text []byte) (*Failure, error) {
	var w struct {
		wireFailure
		Message json.RawMessage `json:"message"`
	}
	if err := unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("decoding a failure: %w", err)
	}
	f := &Failure{
		Class: strings.TrimSuffix(w.Class, remoteSuffix), Module: strings.TrimSuffix(w.Module, remoteSuffix),
		Traceback: w.TB, Args: w.Args, Kwargs: w.Kwargs,
	}
	// A message that is no string is kept as it stands rather than refused.
	if len(w.Message) > 0 && string(w.Message) != "null" {
		if json.Unmarshal(w.Message, &f.Message) != nil {
			f.Message = string(w.Message)
		}
	}
	return f, nil
}
