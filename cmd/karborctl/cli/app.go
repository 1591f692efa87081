// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of karborctl: its commands, what they print
// and how they exit.
package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/cmd/karborctl/document"
	"github.com/karbor-project/karbor/cmd/karborctl/identity"
	"github.com/karbor-project/karbor/cmd/karborctl/progress"
	"github.com/karbor-project/karbor/cmd/karborctl/table"
	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// App is the program with its connections to the outside.
type App struct {
	Version string
	In      io.Reader
	Out     io.Writer // answers
	Err     io.Writer // progress and errors
	Getenv  func(string) string
	// Connect makes the connection to the workers.
	Connect func(client.Options) (*client.Client, error)
	// Identify determines the caller.
	Identify func(context.Context, identity.Options) (*requestcontext.RequestContext, error)
	// FirstPause is the time between the first two looks at something that is
	// waited for.
	FirstPause time.Duration
	Now        func() time.Time
	// Size returns the size of the terminal of Err; nil if Err is no terminal.
	Size func() (columns, rows int)

	options options
	screen  atomic.Pointer[progress.Screen] // while something is drawn on Err
}

// options are the flags that every command has.
type options struct {
	broker  client.Options
	who     identity.Options
	timeout seconds
	format  format
	columns []string
	debug   bool
}

// New makes the program as it runs for an operator.
func New(version string, in io.Reader, out, err io.Writer, getenv func(string) string) *App {
	return &App{Version: version, In: in, Out: out, Err: err, Getenv: getenv,
		Connect: client.Open, Identify: identity.Resolve, FirstPause: 200 * time.Millisecond,
		Now: time.Now, Size: progress.Terminal(err, getenv)}
}

// Run executes one command line, without the program's name, and returns the
// exit code.
func (a *App) Run(ctx context.Context, args []string) int {
	out := &checkedWriter{Writer: a.Out}
	a.Out = out
	root := rootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	command, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil { // what cobra prints itself, it does not check
		err = fmt.Errorf("writing the answer: %w", out.err)
	}
	return a.report(command, err)
}

// checkedWriter keeps the first error.
type checkedWriter struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (w *checkedWriter) Write(text []byte) (int, error) {
	n, err := w.Writer.Write(text)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

const about = `karborctl drives the workers of Karbor's protection service through the message broker, without karbor-api.

Broker:       --url or KARBOR_TRANSPORT_URL, else transport_url of karbor.conf (--config-file, or where the service
              looks for it). protection_topic, control_exchange, rpc_response_timeout and [oslo_messaging_rabbit]
              are read from there too.
Credentials:  --os-cloud or OS_CLOUD with clouds.yaml, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and
              so on. Without any, requests are anonymous: that serves plugins that talk to no cloud.
Types:        ` + aliasHelp + `
Progress:     watch and --wait draw it on a terminal and write a line for each change elsewhere, on the standard error.
Exit codes:   0 done, 1 the operation failed or was cancelled, 2 the command line or the configuration is wrong,
              3 the broker or the worker did not answer, 4 Keystone refused the credentials or did not answer,
              5 not found, 130 interrupted.
Names:        a provider is named by its id, its name or the beginning of either, a checkpoint by its id, the first four
              digits of it or more, or "latest", which is the newest available one.`

func rootCommand(a *App) *cobra.Command {
	root := &cobra.Command{
		Use: "karborctl", Short: "Drive Karbor's protection workers", Long: about, Version: a.Version,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs, RunE: group,
	}
	root.SetHelpCommand(helpCommand(root))
	root.SetVersionTemplate("karborctl {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	a.options = options{format: formatTable}
	a.options.broker.URL = a.Getenv("KARBOR_TRANSPORT_URL")
	a.options.who.Getenv = a.Getenv
	o, flags := &a.options, root.PersistentFlags()
	flags.SortFlags = false
	flags.StringArrayVar(&o.broker.ConfigFiles, "config-file", nil, "a karbor.conf; can be repeated (default: where the service looks for it)")
	flags.StringVar(&o.broker.URL, "url", o.broker.URL, "the message broker, rabbit://user:password@host:port/ (env KARBOR_TRANSPORT_URL)")
	flags.Lookup("url").DefValue = "" // the variable's has a password
	flags.StringVar(&o.broker.Topic, "topic", "", "the topic of the workers (default: protection_topic, karbor-protection)")
	flags.StringVar(&o.broker.Server, "server", "", "ask the worker of this host only")
	flags.Var(&o.timeout, "timeout", "how long to wait for an answer, 10s or 2m (default: rpc_response_timeout, 1m)")
	flags.StringVar(&o.who.Cloud, "os-cloud", "", "the entry of clouds.yaml to log in with (env OS_CLOUD)")
	flags.StringVar(&o.who.Project, "project", "", "without credentials: the id of the project to act in (default "+identity.Anonymous+")")
	flags.StringVar(&o.who.User, "user", "", "without credentials: the id of the user (default as for --project)")
	flags.BoolVar(&o.who.Admin, "admin", false, "without credentials: act as an administrator")
	flags.VarP(&o.format, "format", "f", "table, json or yaml (the worker's answer), csv, or value (cells alone)")
	flags.StringSliceVarP(&o.columns, "column", "c", nil, "the columns or fields to show; can be repeated")
	flags.BoolVar(&o.debug, "debug", false, "print the id of the request and the log of the connection to the standard error")
	root.AddCommand(providerCommand(a), protectableCommand(a), checkpointCommand(a), restoreCommand(a), verifyCommand(a), operationCommand(a), workerCommand(a), rpcCommand(a), versionCommand(a))
	return root
}

// group is what a command does that only holds others.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

// helpCommand is cobra's, but for a command that there is not: that is an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmp.Or(cmd, root), cmp.Or(strings.Join(rest, " "), strings.Join(args, " ")))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// holder makes a command that only holds others.
func holder(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: group}
	cmd.AddCommand(commands...)
	return cmd
}

// session is a connection of somebody to the workers.
type session struct {
	*client.Client
	caller *requestcontext.RequestContext
}

// loginTime bounds the login to Keystone.
const loginTime = 30 * time.Second

// open connects as the caller that the flags describe.
func (a *App) open(ctx context.Context) (*session, error) {
	return a.openAs(ctx, a.options.who)
}

func (a *App) openAs(ctx context.Context, who identity.Options) (*session, error) {
	o := a.options.broker
	o.Timeout = time.Duration(a.options.timeout)
	o.Note = a.note
	if a.options.debug {
		o.Log = a.Err
	}
	connection, err := a.Connect(o)
	if err != nil {
		return nil, usageError{err}
	}
	login, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	caller, err := a.Identify(login, who)
	if err != nil {
		err = loginError{err}
	} else {
		err = connection.As(caller, time.Now())
	}
	if err != nil {
		connection.Close()
		return nil, err
	}
	if a.options.debug {
		a.note("request " + caller.RequestID + " as user " + caller.UserID + " in project " + caller.ProjectID)
	}
	return &session{Client: connection, caller: caller}, nil
}

// close ends a session. The answer is there by then: that the goodbye failed
// changes nothing for the operator.
func (a *App) close(s *session) {
	if err := s.Close(); err != nil && a.options.debug {
		a.note(err.Error())
	}
}

// begin asks for an operation and returns the id in the answer, of a checkpoint
// or a record. It is printed, above the fields of also, unless it is waited for.
func (a *App) begin(ctx context.Context, s *session, r client.Request, wait bool, also ...[2]string) (id string, err error) {
	answer, err := s.Call(ctx, r)
	if err != nil {
		return "", err
	}
	if err := decode(answer, &id); err != nil || wait {
		return id, err
	}
	return id, a.print(answer, func() (*table.Table, error) {
		t := table.NewFields()
		t.Add("id", id)
		for _, field := range also {
			t.Add(field[0], field[1])
		}
		return t, nil
	})
}

// ask makes one call and prints its answer.
func (a *App) ask(cmd *cobra.Command, r client.Request, fill func(json.RawMessage) (*table.Table, error)) error {
	return a.askAbout(cmd, nil, func([]string) client.Request { return r }, fill)
}

// askAbout is ask about a provider and its checkpoints, which the operator may name by more than their ids.
func (a *App) askAbout(cmd *cobra.Command, args []string, request func(ids []string) client.Request, fill func(json.RawMessage) (*table.Table, error)) error {
	s, err := a.open(cmd.Context())
	if err != nil {
		return err
	}
	defer a.close(s)
	ids, err := s.resolve(cmd.Context(), args)
	if err != nil {
		return err
	}
	r := request(ids)
	answer, err := s.Call(cmd.Context(), r)
	if err != nil {
		return err
	}
	return a.print(answer, func() (*table.Table, error) { return fill(answer) })
}

// print shows an answer: the JSON as it came, the same as YAML, or the table that fill
// makes of it.
func (a *App) print(answer json.RawMessage, fill func() (*table.Table, error)) error {
	if a.options.format.whole() {
		kept, err := members(answer, a.options.columns)
		if err != nil {
			return err
		}
		return a.printWhole(kept)
	}
	t, err := fill()
	if err != nil {
		return err
	}
	selected, err := t.Select(a.options.columns)
	if err != nil {
		return usageError{err}
	}
	switch a.options.format {
	case formatValue:
		return selected.WriteValues(a.Out)
	case formatCSV:
		return selected.WriteCSV(a.Out)
	}
	return selected.Write(a.Out)
}

// printWhole shows a JSON value with indentation, or as YAML, and with escapes for what a
// terminal obeys.
func (a *App) printWhole(value json.RawMessage) error {
	if a.options.format == formatYAML {
		text, err := document.ToYAML(value)
		if err == nil {
			_, err = a.Out.Write(text)
		}
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, value, "", "  "); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	text.WriteByte('\n')
	_, err := a.Out.Write(printable.JSON(text.Bytes()))
	return err
}

// report prints an error on one line and returns the exit code.
func (a *App) report(cmd *cobra.Command, err error) int {
	var stopped *interrupted
	var silent *client.NoAnswer
	var refused *rpc.Failure
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
	case errors.As(err, new(loginError)):
		a.note(err.Error())
		return ExitCredentials
	case errors.As(err, new(notFoundError)), errors.As(err, &refused) && strings.HasSuffix(refused.Class, "NotFound"):
		a.note(err.Error())
		return ExitNotFound
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

// loginError is the error of a login to Keystone.
type loginError struct{ error }

func (e loginError) Unwrap() error { return e.error }

// The exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the operation failed, or the worker refused it
	ExitUsage       = 2   // the command line or the configuration is wrong
	ExitNoAnswer    = 3   // the broker or the worker did not answer
	ExitCredentials = 4   // Keystone refused the credentials, or did not answer
	ExitNotFound    = 5   // what the command is about is not there
	ExitInterrupted = 130 // ended by SIGINT, as shells count
)

// oneLine keeps texts from afar on their line, and from the terminal's controls.
func oneLine(text string) string {
	return printable.Line(strings.Join(strings.Fields(text), " "))
}

func versionCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of karborctl", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Out, "karborctl", a.Version)
			return err
		},
	}
}

// printCheckpoint prints a checkpoint and its remarks.
func (a *App) printCheckpoint(answer json.RawMessage) error {
	if err := a.print(answer, func() (*table.Table, error) { return checkpointFields(answer) }); err != nil {
		return err
	}
	return a.printRemarks(answer)
}

// printBelow shows a table below what was printed of an answer, which as JSON has it
// already, and from which columns may have been chosen.
func (a *App) printBelow(t *table.Table) error {
	if a.options.format.whole() || len(a.options.columns) > 0 {
		return nil
	}
	if a.options.format == formatTable {
		if _, err := fmt.Fprintln(a.Out); err != nil {
			return err
		}
	}
	return a.print(nil, func() (*table.Table, error) { return t, nil })
}

func (a *App) printFates(fates []fate) error {
	answer, err := json.Marshal(fates)
	if err != nil {
		return fmt.Errorf("encoding what becomes of the checkpoints: %w", err)
	}
	return a.print(answer, func() (*table.Table, error) {
		t := table.New("id", "created", "status", "action", "reasons")
		for i := range fates {
			one := &fates[i]
			t.Add(one.ID, moment(&one.Created), string(one.Status), one.Action, strings.Join(one.Reasons, ", "))
		}
		return t, nil
	})
}

// printRemarks shows a table of the remarks in an answer below it, if there are any. The
// forms that programs read line by line stay the answer alone.
func (a *App) printRemarks(answer json.RawMessage) error {
	var said progress.Remarked
	if err := decode(answer, &said); err != nil {
		return err
	}
	if a.options.format != formatTable || len(said.Remarks) == 0 && said.More == 0 {
		return nil
	}
	t := table.New("resource", "aspect", "was", "is", "why")
	for _, r := range said.Remarks {
		t.Add(r.Resource.Type+" "+r.Resource.ID, r.Aspect, r.Was, r.Is, r.Why)
	}
	if said.More > 0 {
		t.Add("", fmt.Sprintf("about %d more", said.More), "", "", "")
	}
	return a.printBelow(t)
}
