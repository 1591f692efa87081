// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"unicode/utf8"
)

// RemoteError is an error that is a Python exception for callers.
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

// Failure is an exception as transmitted, and the error that a call returns when the
// server raised one. Message is Python's str(exception).
// oslo.messaging: common.py serialize_remote_exception
type Failure struct {
	Class     string
	Module    string
	Message   string
	Traceback []string
	Args      []any
	Kwargs    map[string]any
}

// Error formats class and message as Python does.
func (f *Failure) Error() string {
	if f.Message == "" {
		return f.Class
	}
	return f.Class + ": " + f.Message
}

// Is reports whether the failure is of a Python class; an empty module matches every
// module.
func (f *Failure) Is(target error) bool {
	t, ok := target.(*Failure)
	return ok && t.Class == f.Class && (t.Module == "" || t.Module == f.Module)
}

// NewFailure returns a failure of the class with the message as its only argument.
func NewFailure(module, class, message string) *Failure {
	return &Failure{Class: class, Module: module, Message: message, Args: []any{message}}
}

// failureOf returns the Failure for a handler's error. It is nil for an error that
// names no Python class. When the methods of a RemoteError panic, failureOf returns an
// error.
func failureOf(err error) (f *Failure, broken error) {
	broken = Guard(func() error {
		var remote RemoteError
		if errors.As(err, &remote) {
			f = &Failure{
				Class: remote.Class(), Module: remote.Module(), Message: remote.Error(),
				Args: remote.Args(), Kwargs: remote.Kwargs(),
			}
		} else if !errors.As(err, &f) {
			f = nil
		}
		return nil
	})
	return f, broken
}

// runtimeError returns a RuntimeError for an error that names no Python class.
func runtimeError(err error) *Failure {
	// fmt handles an error whose Error method panics.
	return NewFailure(builtins, "RuntimeError", fmt.Sprint(err))
}

// builtins is the module of Python's own exceptions; Python 2 said "exceptions".
const builtins = "builtins"

// remoteSuffix marks the classes that Python clients derive for remote exceptions; it
// is stripped when such an exception is passed on. oslo.messaging: common.py
const remoteSuffix = "_Remote"

// wireFailure always has all six keys, because Python clients require the keys they
// read to be present and of the right type.
type wireFailure struct {
	Class   string         `json:"class"`
	Module  string         `json:"module"`
	Message string         `json:"message"`
	TB      []string       `json:"tb"`
	Args    []any          `json:"args"`
	Kwargs  map[string]any `json:"kwargs"`
}

const (
	// maxFailure bounds the JSON text of a failure. The text is quoted twice on its
	// way, so it can grow eightfold.
	maxFailure = 1 << 20
	// maxMessage bounds the message of a failure that exceeds maxFailure.
	maxMessage = 64 << 10
)

// encode returns the JSON object for the failure member, which holds it as a string. A
// failure that is too large is shortened, so that the caller still receives one: first
// traceback, message and positional arguments, then the rest. Arguments that cannot be
// encoded are replaced by the message alone.
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
	text, err := Marshal(w)
	if err == nil && len(text) > maxFailure {
		w.shorten()
		text, err = Marshal(w)
	}
	if err == nil && len(text) <= maxFailure {
		return text
	}
	w.shorten()
	w.Kwargs = map[string]any{}
	w.Class, w.Module = shortened(w.Class, maxQueueName), shortened(w.Module, maxQueueName)
	// Strings can always be encoded.
	text, _ = json.Marshal(w)
	return text
}

func (w *wireFailure) shorten() {
	w.Message = shortened(w.Message, maxMessage)
	w.TB, w.Args = []string{}, []any{w.Message}
}

// shortened cuts a text that is longer than limit, at the boundary of a rune.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:end], len(text))
}

// decodeFailure decodes the text of a failure member. Absent keys stay zero.
func decodeFailure(text []byte) (*Failure, error) {
	var w struct {
		wireFailure
		Message json.RawMessage `json:"message"`
	}
	// The arguments of a Python exception may be anything, NaN among them.
	if clean, _ := allowNonFinite(text); clean != nil {
		text = clean
	}
	if err := unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("decoding a failure: %w", err)
	}
	f := &Failure{
		Class: strings.TrimSuffix(w.Class, remoteSuffix), Module: strings.TrimSuffix(w.Module, remoteSuffix),
		Traceback: w.TB, Args: w.Args, Kwargs: w.Kwargs,
	}
	// A message that is not a string is kept as raw text rather than refused.
	if len(w.Message) > 0 && string(w.Message) != "null" {
		if json.Unmarshal(w.Message, &f.Message) != nil {
			f.Message = string(w.Message)
		}
	}
	return f, nil
}

// PanicError is the error for a panic in a handler.
type PanicError struct {
	Value any
	Stack []byte
}

// Error formats the value if it is text or has a text. For any other value it prints
// the type, because the value may refer to itself and formatting it would never end.
func (e *PanicError) Error() string {
	switch v := e.Value.(type) {
	case error, fmt.Stringer, string, bool, int, int64, uint64, float64:
		return fmt.Sprintf("panic: %v", v)
	default:
		return fmt.Sprintf("panic: a value of type %T", v)
	}
}

// Guard runs foreign code, such as a handler, and returns its panic as a [*PanicError].
// An error whose Error method panics, such as a nil pointer, counts as a panic, because
// it would otherwise panic when it is logged or sent.
func Guard(run func() error) (err error) {
	defer func() {
		v := recover()
		switch {
		case v == nil:
		case isNilPointer(err):
			err = fmt.Errorf("the error is a nil %T", err)
		default:
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if err = run(); err != nil {
		_ = err.Error()
	}
	return err
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// errGoexit is the error for a handler that ended its goroutine, itself or in a
// function it called.
var errGoexit = errors.New("the handler has ended its goroutine and returned nothing")
