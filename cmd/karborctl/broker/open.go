// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
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

// Open reads the configuration and makes a connection to RabbitMQ, which begins
// with the first request. Errors are of the configuration.
func Open(o Options) (*Connection, error) {
	cfg, err := o.load()
	if err != nil {
		return nil, err
	}
	url, err := messaging.URL(cfg)
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
	w := &watch{brokers: addresses(url), timeout: timeout, note: o.Note}
	transport, err := messaging.NewTransport(cfg, w.logger(o.Log))
	if err != nil {
		return nil, err
	}
	c := New(transport, target, timeout, addresses(url))
	c.unreachable = func() error {
		if transport.Stats().Consume.Connections > 0 {
			return nil
		}
		return w.why()
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
	return cfg, nil
}

// watch reads the log of the transport, which is where it tells why it cannot
// connect: it goes on trying, so that no call returns the reason.
type watch struct {
	brokers string
	timeout time.Duration
	note    func(string)
	last    atomic.Pointer[error]
}

func (w *watch) logger(out io.Writer) logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true}) // which quotes every text
	if out != nil {
		log.SetOutput(out)
		log.SetLevel(logrus.DebugLevel)
	}
	log.AddHook(w)
	return log
}

// Levels implements logrus.Hook.
func (w *watch) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

// Fire implements logrus.Hook.
func (w *watch) Fire(entry *logrus.Entry) error {
	err, ok := entry.Data[logrus.ErrorKey].(error)
	if !ok {
		return nil
	}
	if w.last.Swap(&err) == nil && w.note != nil {
		w.note(fmt.Sprintf("the message broker at %s does not answer (%v), trying again for %s", w.brokers, short(err), w.timeout))
	}
	return nil
}

func (w *watch) why() error {
	if err := w.last.Load(); err != nil {
		return *err
	}
	return nil
}
