// SPDX-License-Identifier: Apache-2.0

// Package fault is the catalogue of errors that may leave the protection
// service. Each is an instance of a class of Python's karbor.exception, with
// that class's message template, HTTP code and keyword arguments, because
// karbor-api rebuilds the class from these and shows its message to users.
//
// An *Error carries its cause for our own logs; the cause never crosses the
// wire.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Module is the Python module that holds every class of the catalogue. An
// oslo.messaging client rebuilds a class only from modules that it trusts, and
// karbor's clients trust this one.
const Module = "karbor.exception"

// Error is one instance of a karbor.exception class. The zero value is not
// useful: use the constructors of the catalogue.
type Error struct {
	class   string
	code    int
	message string
	kwargs  map[string]any
	cause   error
}

// Module returns the Python module of the class, always karbor.exception.
func (e *Error) Module() string { return Module }

// Class returns the name of the Python class, such as "ProviderNotFound".
func (e *Error) Class() string { return e.class }

// Code returns the HTTP status that karbor-api answers with.
func (e *Error) Code() int { return e.code }

// UserMistake reports whether the caller asked for something impossible, as opposed to
// a failure of this service or of a service behind it. The original gives some of these
// classes the code 500, and wraps others in a FlowError.
func (e *Error) UserMistake() bool {
	switch e.class {
	case flowError.name:
		var inner *Error
		return errors.As(e.cause, &inner) && inner.UserMistake()
	case checkpointNotAvailable.name, checkpointNotBeDeleted.name, checkpointNotBeReset.name, protectableInvalidStatus.name:
		return true
	}
	return e.code < 500
}

// Message returns the text that users see.
func (e *Error) Message() string { return e.message }

// Args returns the positional arguments of the Python constructor.
func (e *Error) Args() []any { return []any{e.message} }

// Kwargs returns the keyword arguments of the Python constructor: the values of the
// message template, and the code.
func (e *Error) Kwargs() map[string]any {
	kwargs := maps.Clone(e.kwargs)
	if kwargs == nil {
		kwargs = map[string]any{}
	}
	kwargs["code"] = e.code
	return kwargs
}

// Error returns the message alone, so that wrapping does not change the text that users
// read. The log shows the cause by Detail.
func (e *Error) Error() string { return e.message }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// WithCause returns a copy of e that remembers err for the log.
func (e *Error) WithCause(err error) *Error {
	copied := *e
	copied.cause = err
	return &copied
}

// Is reports whether the chain of err holds an Error of the named class.
func Is(err error, class string) bool {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return false
		}
		if e.class == class {
			return true
		}
		err = e.cause
	}
	return false
}

// From returns the first Error in the chain of err. Anything else becomes a
// plain KarborException with err as its cause, so that no foreign text, and no
// Python builtin that karbor-api cannot show, leaves the service.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return KarborException("").WithCause(err)
}

// Detail returns the message of err and of all its causes, for logs.
func Detail(err error) string {
	var parts []string
	for err != nil {
		text := err.Error()
		if len(parts) == 0 || !strings.Contains(parts[len(parts)-1], text) {
			parts = append(parts, text)
		}
		var e *Error
		if !errors.As(err, &e) {
			break
		}
		if e.cause != nil && e.cause == err {
			break
		}
		err = e.cause
	}
	return strings.Join(parts, ": ")
}

// class is one row of the catalogue.
type class struct {
	name     string
	code     int
	template string
}

// maxValue bounds a value of an error in bytes. Most values come from a caller, and an
// error goes into replies, records and logs.
const maxValue = 2048

// bounded returns a value of at most maxValue bytes and a mark, cut between characters.
func bounded(value string) string {
	if len(value) <= maxValue {
		return value
	}
	return strings.ToValidUTF8(value[:maxValue], "") + "..."
}

// with fills the template. Values are strings, since the Python side formats them into
// text and may pickle them no further. Long values are cut.
func (c class) with(pairs ...string) *Error {
	if len(pairs)%2 != 0 {
		panic(fmt.Sprintf("fault: class %s: odd number of keyword arguments", c.name))
	}
	kwargs := make(map[string]any, len(pairs)/2)
	replace := make([]string, 0, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		value := bounded(pairs[i+1])
		kwargs[pairs[i]] = value
		replace = append(replace, "%("+pairs[i]+")s", value)
	}
	return &Error{
		class:   c.name,
		code:    c.code,
		message: strings.NewReplacer(replace...).Replace(c.template),
		kwargs:  kwargs,
	}
}
