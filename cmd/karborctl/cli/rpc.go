// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/pkg/printable"
)

func rpcCommand(a *App) *cobra.Command {
	return holder("rpc", "Send any request", rpcCallCommand(a), rpcCastCommand(a))
}

// endpointFlags choose among the endpoints of a worker.
type endpointFlags struct{ namespace, version string }

func (f *endpointFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "the namespace of the method (default: none)")
	cmd.Flags().StringVar(&f.version, "version", "", "the version of the interface, such as 1.0 (default: none)")
}

const argumentHelp = `An argument is KEY=VALUE: the value is JSON if it can be read as such (10, true, null, {"a": 1}), else text.
KEY:=JSON must be JSON, and KEY:='"10"' makes a text of what looks like a number.`

func rpcCallCommand(a *App) *cobra.Command {
	var f endpointFlags
	cmd := &cobra.Command{
		Use: "call METHOD [KEY=VALUE]...", Short: "Call a method and print its result as JSON",
		Long: "Call a method and print its result as JSON.\n\n" + argumentHelp,
		Example: `  karborctl rpc call list_providers limit=10
  karborctl rpc call show_restore --namespace records restore_id=ID
  karborctl rpc call show_checkpoint provider_id=ID checkpoint_id=ID --server controller-1`,
		Args: methodArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := parseArguments(args[1:])
			if err != nil {
				return err
			}
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer a.close(s)
			answer, err := s.Call(cmd.Context(), client.Request{Method: args[0], Args: values, Namespace: f.namespace, Version: f.version})
			if err != nil {
				return err
			}
			if a.options.format == formatValue {
				_, err := fmt.Fprintln(a.Out, printable.Line(textOf(answer)))
				return err
			}
			return a.printWhole(answer)
		},
	}
	f.register(cmd)
	return cmd
}

func rpcCastCommand(a *App) *cobra.Command {
	var f endpointFlags
	var fanout bool
	cmd := &cobra.Command{
		Use: "cast METHOD [KEY=VALUE]...", Short: "Send a request that is not answered",
		Long: "Send a request that is not answered. Done means that the broker has it.\n\n" + argumentHelp,
		Args: methodArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := parseArguments(args[1:])
			if err != nil {
				return err
			}
			s, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			defer a.close(s)
			return s.Cast(cmd.Context(), client.Request{Method: args[0], Args: values, Namespace: f.namespace, Version: f.version}, fanout)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&fanout, "fanout", false, "send it to every worker of the topic")
	return cmd
}

func methodArgument(_ *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "" {
		return usagef("METHOD is missing")
	}
	return nil
}
