// SPDX-License-Identifier: Apache-2.0

// Package service runs the protection manager as a daemon: it reads the configuration, sets up the
// log, and starts and stops the parts.
//
// A daemon with a vendor's own plugins is a main function that calls Main with a Setup whose
// registries have these plugins too.
package service

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/notification"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/manager/service/messaging"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
	protectables "github.com/karbor-project/karbor/providers/protectable/builtin"
)

// Program is the name of the service, of its process and of its row in services.
const Program = "karbor-protection"

// nodeOptions identify a node.
// karbor: service.py
func nodeOptions() []config.Option {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return []config.Option{
		{Name: "host", Kind: config.HostAddress, Default: host, Sample: "the machine's host name",
			Help: "The name of this node: that of the RPC server and in the table services. Each node needs one of its own."},
		{Name: "state_path", Kind: config.String, Default: "/var/lib/karbor", CLI: true,
			Deprecated: []config.Name{{Name: "pybasedir"}},
			Help:       "The folder of the service's own state: the SQLite database, unless [database] connection names another one, and the key of the journal."},
	}
}

// The values of status_page.
const (
	pageOff        = "off"
	pageLocal      = "local"
	pageEverywhere = "everywhere"
)

// serviceOptions are the options about how the daemon serves.
// karbor: service.py; oslo.messaging: server.py; oslo.service: _options.py
func serviceOptions() []config.Option {
	return []config.Option{
		{Name: "executor_thread_pool_size", Kind: config.Int, Default: 64, Min: config.Bound(1),
			Deprecated: []config.Name{{Name: "rpc_thread_pool_size"}},
			Help:       "The largest number of requests that are worked on at a time."},
		{Name: "max_requests_per_project", Kind: config.Int, Default: 0, Min: config.Bound(0),
			Help: "The largest number of requests of one project that are worked on at a time: so many that start operations, and so many others. " +
				"Further ones wait for their turn, at most executor_thread_pool_size of each sort, and those beyond are refused. " +
				"0 means a third of executor_thread_pool_size."},
		{Name: "max_answer_bytes", Kind: config.Int, Default: 8 << 20, Min: config.Bound(0),
			Help: "The largest number of bytes that a listing may take in its message. A larger one is refused, and asked for with limit and marker. " +
				"It has to stay below what the broker takes, which is 16 MiB in RabbitMQ 4. 0 means no limit."},
		{Name: "max_listing_bytes", Kind: config.Int, Default: 64 << 20, Min: config.Bound(0),
			Help: "The largest number of bytes that all listings take together while they are made. Those that find no room are refused, to be asked for again. " +
				"0 means no limit."},
		{Name: "rpc_ping_enabled", Kind: config.Bool, Default: false,
			Help: "Whether to answer oslo_rpc_server_ping."},
		{Name: "report_interval", Kind: config.Int, Default: 10, Min: config.Bound(0),
			Help: "Seconds between two heartbeats in the table services. 0 turns them off."},
		{Name: "service_down_time", Kind: config.Int, Default: 60, Min: config.Bound(0),
			Help: "Seconds after the last heartbeat until karbor-api takes the service for down. It must exceed report_interval."},
		{Name: "enable_new_services", Kind: config.Bool, Default: true,
			Help: "Whether the row that a new node makes in services is enabled."},
		{Name: "graceful_shutdown_timeout", Kind: config.Int, Default: 60, Min: config.Bound(0),
			Help: "Seconds that what is at work may take to finish after SIGTERM. Operations that are not done then, and those that only " +
				"wait for a service, are left as they are: another worker goes on with them, or this one when it is started again. 0 means no limit."},
		{Name: "metrics_listen", Kind: config.String, Default: "",
			Help: "host:port on which to serve /metrics for Prometheus, /healthz and /readyz over HTTP, without authentication, and the status page. Empty turns it off. A change needs a restart."},
		{Name: "status_page", Kind: config.String, Default: pageLocal, Choices: []string{pageOff, pageLocal, pageEverywhere},
			Help: "Who may read the status page at / of metrics_listen: nobody (off), clients on this machine (local), or everybody who reaches the address " +
				"(everywhere). A change needs a restart."},
		{Name: "status_page_token", Kind: config.String, Default: "", Secret: true,
			Help: "The password, with any user name, that shows projects and the names of resources on the status page. Empty shows them to nobody. " +
				"A change needs a restart."},
		{Name: "bank_check_interval", Kind: config.Int, Default: 60, Min: config.Bound(0),
			Help: "Seconds between two requests that find out whether the bank of a provider answers, for /readyz, metrics and the log. 0 turns them off."},
	}
}

// Options are all options of the main configuration file, in the order of the
// sample file.
func Options() []config.Option {
	return slices.Concat(
		nodeOptions(),
		messaging.Options(),
		serviceOptions(),
		telemetry.Options,
		providers.Options,
		operation.Options,
		ownership.Options(),
		journalOptions(),
		janitor.Options(),
		database.ConfigOptions,
		messaging.DriverOptions(),
		notification.Options(),
		reportOptions(),
		openstack.Options(),
		protectables.Options(),
	)
}

// WriteReference writes the reference of all options, first of the main file and then of provider
// files.
func WriteReference(w io.Writer) error {
	setup := Builtin()
	file := slices.Clone(providers.ProviderOptions)
	for _, bank := range setup.Banks.Entries() {
		file = append(file, bank.Options...)
	}
	for _, plugin := range setup.Plugins.Entries() {
		file = append(file, plugin.Options...)
	}
	for _, part := range []struct {
		text    string
		options []config.Option
	}{
		{"# Configuration\n\nThe option tables of the program make this page: `make config-sample`.\n\n## karbor.conf\n\n", Options()},
		{"\n## Provider files\n\nOne file per provider, in the folder that `provider_config_dir` names.\n\n", file},
	} {
		if _, err := fmt.Fprint(w, part.text); err != nil {
			return err
		}
		if err := config.WriteReference(w, part.options); err != nil {
			return err
		}
	}
	return nil
}
