// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
)

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
// counts as a panic: whoever logs or sends it later would panic in its place.
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

// errGoexit is the outcome of a handler, or of what works for it, that ended the
// goroutine.
var errGoexit = errors.New("the handler has ended its goroutine and returned nothing")
