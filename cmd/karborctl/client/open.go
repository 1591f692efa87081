// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager/service/messaging"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/rpc"
)

// Options say where the workers are. What they leave out is in karbor.conf, or
// has the defaults of the service.
type Options struct {
	// ConfigFiles replace the search for karbor.conf.
	ConfigFiles []string
	URL         string
	Topic       string
	Server      string
	Timeout     time.Duration
	// Note receives what an operator wants to know while a request waits.
	Note func(string)
	// Log receives the log of the transport; nil drops it.
	Log io.Writer
}

// Open reads the configuration and makes a client, which connects to RabbitMQ with the
// first request. Errors are of the configuration.
func Open(o Options) (*Client, error) {
	cfg, err := o.load()
	if err != nil {
		return nil, err
	}
	url, err := messaging.URL(cfg, config.DefaultGroup)
	if err != nil {
		return nil, err
	}
	target := rpc.Target{Exchange: cfg.String("DEFAULT", "control_exchange"), Topic: cfg.String("DEFAULT", "protection_topic"), Server: o.Server}
	if o.Topic != "" {
		target.Topic = o.Topic
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = time.Duration(cfg.Int("DEFAULT", "rpc_response_timeout")) * time.Second
	}
	transport, err := messaging.NewTransport(cfg, config.DefaultGroup, logger(o.Log))
	if err != nil {
		return nil, err
	}
	c := New(transport, target, timeout, addresses(url))
	c.unreachable = func() error {
		stats := transport.Stats()
		if stats.Consume.Connections+stats.Publish.Connections > 0 {
			return nil
		}
		return cmp.Or(stats.Consume.Err, stats.Publish.Err)
	}
	if o.Note != nil {
		c.watch(func(ctx context.Context) {
			if err := transport.Unreachable(ctx); err != nil {
				o.Note(fmt.Sprintf("the message broker at %s does not answer (%v), trying again for %s", c.brokers, short(err), timeout))
			}
		})
	}
	return c, nil
}

// load reads the files that the service reads. With a URL, a default file that
// only the service may read is no error.
func (o Options) load() (*config.Config, error) {
	options := slices.Concat(messaging.Options(), messaging.DriverOptions())
	home, _ := os.UserHomeDir() // without one the search leaves it out
	source := config.Source{Project: "karbor", Prog: "karbor-protection", Files: o.ConfigFiles, Env: os.LookupEnv, Home: home}
	if o.URL != "" {
		if _, err := rpc.ParseTransportURL(o.URL); err != nil {
			return nil, fmt.Errorf("--url: %w", err)
		}
		source.Overrides = map[config.Name][]string{{Name: "transport_url"}: {config.Escape(o.URL)}}
	}
	cfg, err := config.Load(source, options)
	if err != nil && o.URL != "" && len(o.ConfigFiles) == 0 && errors.Is(err, fs.ErrPermission) {
		source.Project, source.Prog = "", ""
		cfg, err = config.Load(source, options)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if found, searched := source.Search(); len(o.ConfigFiles) == 0 && len(found) == 0 && !cfg.IsSet("DEFAULT", "transport_url") {
		return nil, fmt.Errorf("nothing names the message broker: there is no --url, no KARBOR_TRANSPORT_URL, and neither karbor.conf nor karbor-protection.conf in %s",
			strings.Join(searched, ", "))
	}
	return cfg, nil
}

// logger writes the log of the transport to out, or drops it when out is nil.
func logger(out io.Writer) logrus.FieldLogger {
	if out == nil {
		out = io.Discard
	}
	log := logrus.New()
	log.SetOutput(out)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true}) // which quotes every text
	return log
}
