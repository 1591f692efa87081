// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/karbor-project/karbor/pkg/requestcontext"
	"github.com/karbor-project/karbor/rpc"
)

// The providers of the worker under measurement. The banks of two take
// checkpoints, on a disk and in memory; that of the third is filled for listings.
const (
	onDisk   = "b766f37c-d011-4026-8228-28730d734a3f"
	inMemory = "0a8f0f0c-7f0c-4b8b-8f53-3b8d8a2b6d57"
	archive  = "c1d0a9b2-6f64-4a53-9a0f-6a4be4d4f6d1"
)

// memoryFolder is a file system in memory.
const memoryFolder = "/dev/shm"

// project is the caller's.
const project = "8f1f0a5e6b0b4bb4b4a4b8c5d7e3a9c1"

// site is what the servers of one run share: a folder, and names on the broker
// that nobody else uses.
type site struct {
	dir    string
	memory string // a folder in memory, "" without one
	broker string // transport URL
	name   string // of the exchange, and the beginning of all topics
}

func newSite(broker string) (*site, error) {
	dir, err := os.MkdirTemp("", "karbor-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the run: %w", err)
	}
	s := &site{dir: dir, broker: broker, name: "bench-" + rpc.NewID()[:8]}
	if s.memory, err = os.MkdirTemp(memoryFolder, "karbor-bench-"); err != nil {
		s.memory = "" // the table does without
	}
	return s, nil
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) topic(server string) string { return s.name + "-" + server }

// bank is the folder of a provider's bank.
func (s *site) bank(provider string) string {
	if provider == inMemory {
		return filepath.Join(s.memory, "bank")
	}
	return s.path("bank-" + provider)
}

func (s *site) providers() []string {
	if s.memory == "" {
		return []string{onDisk, archive}
	}
	return []string{onDisk, inMemory, archive}
}

// worker says what the configuration of a worker has of its own.
type worker struct {
	state    string // the folder's name
	name     string // of its topic; "ours" by default
	host     string
	plugin   string // karbor-noop-protection-plugin by default
	database string // URL; "" is the embedded one
	memory   bool   // the folder is in memory
}

// configure writes the configuration of a new worker and returns its path.
func (s *site) configure(w worker) (string, error) {
	const providerFile = `[provider]
name = %[1]s
description = of a benchmark
id = %[1]s
enabled = True
bank = karbor-fs-bank-plugin
plugin = %[3]s

[file_system_bank_plugin]
file_system_bank_path = %[2]s
`
	const mainFile = `[DEFAULT]
transport_url = %s
control_exchange = %s
protection_topic = %s
host = %s
state_path = %s
provider_config_dir = %s
log_file = %s
max_concurrent_operations_per_project = 0
%s`
	w.name, w.host, w.plugin = cmp.Or(w.name, "ours"), cmp.Or(w.host, "bench"), cmp.Or(w.plugin, "karbor-noop-protection-plugin")
	if w.database != "" {
		w.database = "\n[database]\nconnection = " + w.database + "\n"
	}
	state := s.path(w.state)
	if w.memory {
		state = filepath.Join(s.memory, w.state)
	}
	config := s.path(w.state + "-" + w.host + ".conf")
	providers := s.path("providers.d-" + w.plugin)
	if err := os.MkdirAll(providers, 0o755); err != nil {
		return "", err
	}
	files := map[string]string{
		config: fmt.Sprintf(mainFile, s.broker, s.name, s.topic(w.name), w.host, state, providers, config+".log", w.database),
	}
	for _, id := range s.providers() {
		files[filepath.Join(providers, id+".conf")] = fmt.Sprintf(providerFile, id, s.bank(id), w.plugin)
	}
	for path, content := range files {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return config, nil
}

// caller is a request context as karbor-api sends it.
func caller() (rpc.Context, error) {
	who := requestcontext.RequestContext{
		UserID: "3f1c1bd2a0f34d0f9a9a2a8b1b0c9d8e", ProjectID: project, ProjectName: "demo",
		Roles: []string{"member", "reader"}, RequestID: requestcontext.NewRequestID(),
		AuthToken: "gAAAAAB" + strings.Repeat("x", 180),
	}
	c := rpc.Context{}
	for name, value := range who.Encode(time.Now()) {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding the request context: %w", err)
		}
		c[name] = text
	}
	return c, nil
}

// dial connects to the broker with the AMQP library alone.
func dial(broker string) (*amqp.Connection, error) {
	u, err := rpc.ParseTransportURL(broker)
	if err != nil {
		return nil, err
	}
	host := u.Brokers()[0]
	conn, err := amqp.DialConfig("amqp://"+host.Address(), amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: host.User, Password: host.Password}},
		Vhost: u.VirtualHost,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	return conn, nil
}

// remove removes the folder, and what the servers have declared on the broker.
func (s *site) remove() error {
	errs := []error{os.RemoveAll(s.dir)}
	if s.memory != "" {
		errs = append(errs, os.RemoveAll(s.memory))
	}
	conn, err := dial(s.broker)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	// Deleting what is not there is no error.
	for _, server := range []string{"ours", "python", "raw", waiting} {
		for _, queue := range []string{s.topic(server), s.topic(server) + ".bench", s.topic(server) + ".heir", s.topic(server) + "-replies"} {
			_, err := ch.QueueDelete(queue, false, false, false)
			errs = append(errs, err)
		}
		errs = append(errs, ch.ExchangeDelete(s.topic(server)+"_fanout", false, false))
	}
	return errors.Join(append(errs, ch.ExchangeDelete(s.name, false, false))...)
}
