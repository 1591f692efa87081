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

// NewFailure returns a failure of the class with the message as its only argument.
func NewFailure(module, class, message string) *Failure {
	return &Failure{Class: class, Module: module, Message: message, Args: []any{message}}
}

// failureOf finds the wire form of a handler's error. It is nil for an error that
// does not know its Python class, and an error when the one that does breaks.
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

// runtimeError is the failure of an error that nobody gave a class.
func runtimeError(err error) *Failure {
	// fmt survives an error without a usable text.
	return NewFailure(builtins, "RuntimeError", fmt.Sprint(err))
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

const (
	// maxFailure bounds the JSON text of a failure. It is quoted twice on its way, so
	// that it can grow eightfold.
	maxFailure = 1 << 20
	// maxMessage bounds the message of a failure that is too large.
	maxMessage = 64 << 10
)

// encode returns the JSON object that the failure member holds as a string. A failure
// that is too large is shortened, so that the caller still learns of it: first traceback,
// message and positional arguments, then the rest. Arguments that cannot be encoded
// are replaced by the message alone.
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
	// Strings alone always encode.
	text, _ = json.Marshal(w)
	return text
}

func (w *wireFailure) shorten() {
	w.Message = shortened(w.Message, maxMessage)
	w.TB, w.Args = []string{}, []any{w.Message}
}

// shortened cuts a text that is longer than limit, between two runes.
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

// decodeFailure reads the text of a failure member. Absent keys stay zero.
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
	// A message that is no string is kept as it stands rather than refused.
	if len(w.Message) > 0 && string(w.Message) != "null" {
		if json.Unmarshal(w.Message, &f.Message) != nil {
			f.Message = string(w.Message)
		}
	}
	return f, nil
}

// PanicError is a panic of a handler on its way to becoming a failure.
type PanicError struct {
	Value any
	Stack []byte
}

// Error shows the value where it has a text. The value of any other kind may refer
// to itself, which would make its formatting endless: its type has to do.
func (e *PanicError) Error() string {
	switch v := e.Value.(type) {
	case error, fmt.Stringer, string, bool, int, int64, uint64, float64:
		return fmt.Sprintf("panic: %v", v)
	default:
		return fmt.Sprintf("panic: a value of type %T", v)
	}
}

// Guard runs code that is not this package's own, such as a handler, and makes its
// panic a [*PanicError]. An error without a usable text, such as a nil pointer,
// counts as a panic, because logging or sending it later would panic instead.
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

// errGoexit is the outcome of a handler, or of a function that it calls, that ended its
// goroutine.
var errGoexit = errors.New("the handler has ended its goroutine and returned nothing")
