// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/identity"
	"github.com/karbor-project/karbor/pkg/printable"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the operation failed, or the worker refused it
	ExitUsage       = 2   // the command line or the configuration is wrong
	ExitNoAnswer    = 3   // the broker or the worker did not answer
	ExitInterrupted = 130 // ended by SIGINT, as shells count
)

// usageError is an error that another command line or configuration mends.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// interrupted is the end of a wait: what was begun goes on.
type interrupted struct {
	what string // "checkpoint ID is still protecting"
	look string // the command that shows what became of it
}

func (e *interrupted) Error() string {
	return "interrupted; " + e.what + ", the worker goes on. Look at it with: " + e.look
}

// unknownCommand tells what the operator may have meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q for %q", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{errors.New(text)}
}

// exactly checks the number of arguments and names those that are missing.
func exactly(names ...string) cobra.PositionalArgs { return between(len(names), names...) }

// between is exactly with optional arguments after the first least.
func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("unexpected argument %q", args[len(names)])
		}
		for i, arg := range args {
			if arg == "" {
				return usagef("%s is empty", names[i])
			}
		}
		return nil
	}
}

// report prints an error on one line and returns the exit code.
func (a *App) report(cmd *cobra.Command, err error) int {
	var stopped *interrupted
	var silent *client.NoAnswer
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, new(usageError)), errors.As(err, new(identity.Mistake)):
		a.note(err.Error() + " (see " + cmd.CommandPath() + " --help)")
		return ExitUsage
	case errors.As(err, &stopped):
		a.note(err.Error())
		return ExitInterrupted
	case errors.Is(err, context.Canceled):
		a.note("interrupted before there was an answer; the worker may do what was asked")
		return ExitInterrupted
	case errors.As(err, &silent):
		a.note(err.Error())
		return ExitNoAnswer
	}
	a.note(err.Error())
	return ExitFailed
}

// note tells the operator something, on one line of the standard error.
func (a *App) note(text string) {
	line := "karborctl: " + oneLine(text)
	if screen := a.screen.Load(); screen != nil {
		screen.Print(line)
		return
	}
	fmt.Fprintln(a.Err, line)
}

// oneLine keeps texts from afar on their line, and from the terminal's controls.
func oneLine(text string) string {
	return printable.Line(strings.Join(strings.Fields(text), " "))
}

// notEmpty refuses flags that are given and empty, as by a script whose variable is
// not set: for the one who wrote it they do not mean everything.
func notEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef("--%s is empty", name)
		}
	}
	return nil
}
