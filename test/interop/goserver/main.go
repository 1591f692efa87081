// SPDX-License-Identifier: Apache-2.0

// Command goserver (bin/rpc-testserver) is a small RPC server for peers written in
// Python to talk to and for rpc-bench to load.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goserver:", err)
		os.Exit(1)
	}
}

// settings collects repeated --option KEY=VALUE flags.
type settings struct{ options *rabbit.Options }

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	name, value, _ := strings.Cut(text, "=")
	return s.options.Set(name, value)
}

func run() (err error) {
	options := rabbit.DefaultOptions()
	address := flag.String("url", "rabbit://", "transport URL")
	target := rpc.Target{}
	flag.StringVar(&target.Exchange, "exchange", rpc.DefaultExchange, "control exchange")
	flag.StringVar(&target.Topic, "topic", "interop", "topic")
	flag.StringVar(&target.Server, "server", "goserver", "server name")
	workers := flag.Int("workers", 0, "requests worked on at a time, 0 for the default")
	verbose := flag.Bool("verbose", false, "log debug messages")
	flag.Var(settings{&options}, "option", "KEY=VALUE of [oslo_messaging_rabbit], repeatable")
	var profile profile
	profile.flags()
	flag.Parse()
	if err := profile.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profile.stop()) }()

	log := logrus.New()
	if *verbose {
		log.SetLevel(logrus.DebugLevel)
	}
	u, err := rpc.ParseTransportURL(*address)
	if err != nil {
		return err
	}
	transport, err := rabbit.New(u, options, log)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server, err := rpc.NewServer(transport, target, endpoints(), rpc.ServerOptions{Workers: *workers, Ping: true, Log: log})
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	// Drivers of this program wait for the line.
	fmt.Println("ready")
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Stop(closing); err != nil {
		return err
	}
	return transport.Close(closing)
}
