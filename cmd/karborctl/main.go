// SPDX-License-Identifier: Apache-2.0

// Command karborctl drives the workers of the protection service through the
// message broker, without karbor-api.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/karbor-project/karbor/cmd/karborctl/cli"
)

// version is set when the program is built.
var version = "0.0.0-unknown"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	return cli.New(version, os.Stdin, os.Stdout, os.Stderr, os.Getenv).Run(ctx, os.Args[1:])
}
