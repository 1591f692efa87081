// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
)

// ErrHelp and ErrVersion are returned by ParseArgs for --help (-h) and --version: the
// caller prints and exits.
var (
	ErrHelp    = errors.New("help requested")
	ErrVersion = errors.New("version requested")
)

// mask stands for a secret value in dumps and errors (oslo.config: cfg.py
// log_opt_values).
const mask = "****"

// ParseError is the error for a line that violates the grammar of configuration files.
type ParseError struct {
	File   string
	Line   int // from 1
	Reason string
}

// Error returns "file:line: reason", without the line itself, which may be secret.
func (e *ParseError) Error() string {
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// ValueError is the error for a value that its option does not allow.
type ValueError struct {
	Where  string // as Config.Where tells it
	Group  string
	Option string
	Value  string // as given, before expansion; masked when the option is secret
	Reason string // what is allowed
}

// Error names the source, the option, the value and the allowed values.
func (e *ValueError) Error() string {
	value := e.Value
	if value != mask {
		value = fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%s: [%s] %s = %s: %s", e.Where, e.Group, e.Option, value, e.Reason)
}
