// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/service/messaging"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/keyfile"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/providers"
)

// The flags of a check.
const (
	checkFlag  = "--check"
	onlineFlag = "--online"
	jsonFlag   = "--json"
)

// The exit codes of a check, those of OpenStack's "status upgrade check".
const (
	checkOK      = 0
	checkWarning = 1
	checkFailure = 2
)

// resultNames are the results, indexed by exit code.
var resultNames = []string{"ok", "warning", "failure"}

// checkTime bounds each check that needs more than files.
const checkTime = 10 * time.Second

// checked is one line of a check's output.
type checked struct {
	Check   string `json:"check"`
	Result  string `json:"result"` // one of resultNames
	Details string `json:"details"`
}

// check checks the dependencies of a worker with this configuration. It changes nothing, except
// that it creates and removes a folder in banks on the file system.
type check struct {
	cfg     *config.Config
	setup   Setup
	log     logrus.FieldLogger
	lines   []checked
	code    int
	clients *openstack.Factory
	loaded  *providers.Registry
}

// runCheck checks the configuration that args name and, if online is set, the services that it
// names. It returns the exit code.
func runCheck(args []string, setup Setup, online, asJSON bool, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c := &check{setup: setup, log: telemetry.OrDiscard(nil)}
	c.configuration(args)
	if c.cfg != nil {
		c.paths()
		c.providers()
	}
	if c.cfg != nil && online {
		c.online(ctx)
	}
	if c.loaded != nil {
		_ = c.loaded.Close()
	}
	if c.clients != nil {
		c.clients.Close()
	}
	if err := c.write(stdout, asJSON); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", Program, err)
		return checkFailure
	}
	return c.code
}

func (c *check) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(c.lines)
	}
	for _, l := range c.lines {
		if _, err := fmt.Fprintf(out, "%-8s%-15s%s\n", l.Result, l.Check, printable.Line(l.Details)); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) add(code int, name, format string, args ...any) {
	c.lines = append(c.lines, checked{name, resultNames[code], fmt.Sprintf(format, args...)})
	c.code = max(c.code, code)
}

// result adds a line: a failure if err is set, otherwise the text well.
func (c *check) result(name string, err error, well string) {
	if err != nil {
		c.add(checkFailure, name, "%s", fault.Detail(err))
		return
	}
	c.add(checkOK, name, "%s", well)
}

// configuration reads the files. An invalid value ends the check, since the intended configuration
// is unknown.
func (c *check) configuration(args []string) {
	cfg, err := loadConfig(args)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			c.add(checkFailure, "configuration", "%s", line)
		}
		return
	}
	c.cfg = cfg
	notes := slices.Concat(cfg.Warnings(), unknownOptions(cfg))
	for _, note := range notes {
		c.add(checkWarning, "configuration", "%s", note)
	}
	if len(notes) == 0 {
		c.add(checkOK, "configuration", "every option is known and has a value that it allows")
	}
}

// paths checks the worker's own folders and keys.
func (c *check) paths() {
	if state := c.cfg.String("DEFAULT", "state_path"); embedded(c.cfg) {
		c.result("state_path", filesystem.Writable(state), state+" can be written to")
	}
	if log := telemetry.LogConfigFrom(c.cfg, Program); log.File != "" {
		c.result("log", filesystem.Writable(filepath.Dir(log.File)), filepath.Dir(log.File)+" can be written to")
	}
	key := c.cfg.String("DEFAULT", "journal_key_file")
	_, err := keyfile.Read(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.result("journal key", filesystem.Writable(filepath.Dir(key)), key+" is made at the first start")
	case err != nil:
		c.result("journal key", err, "")
	default:
		_, err = journal.NewSealer(key)
		c.result("journal key", err, key+" has keys")
	}
}

// providers loads the provider files, and checks the banks that are on this machine.
func (c *check) providers() {
	identity, err := openstack.FromConfig(c.cfg)
	if err != nil {
		c.add(checkFailure, "identity", "%s", fault.Detail(err))
		return
	}
	c.clients = openstack.New(identity, c.log)
	if c.loaded, err = loadProviders(c.cfg, c.setup, c.clients, newCluster(c.cfg), c.log); err != nil {
		c.add(checkFailure, "providers", "%s", fault.Detail(err))
		return
	}
	for _, left := range c.loaded.LeftOut() {
		c.add(checkFailure, "providers", "%s: %s", left.File, fault.Detail(left.Err))
	}
	for _, note := range c.loaded.Notes() {
		c.add(checkWarning, "providers", "%s: %s", note.File, note.Text)
	}
	for _, p := range c.loaded.All() {
		c.result("providers", p.Writable(), fmt.Sprintf("%s (%s) protects %s", p.Name, p.ID, strings.Join(p.Types(), ", ")))
	}
	if len(c.loaded.All()) == 0 {
		c.add(checkWarning, "providers", "no provider is enabled: nothing can be protected")
	}
}

// online checks all services that the configuration names.
func (c *check) online(ctx context.Context) {
	c.broker(ctx)
	c.database(ctx)
	if c.loaded == nil {
		return
	}
	for _, p := range c.loaded.All() {
		asking, cancel := context.WithTimeout(ctx, checkTime)
		c.result("banks", p.Probe(asking), "the bank of provider "+p.Name+" answers")
		cancel()
	}
	c.services(ctx)
}

func (c *check) broker(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	transport, err := messaging.NewTransport(c.cfg, config.DefaultGroup, c.log)
	if err == nil {
		asking, broken := context.WithCancelCause(ctx)
		go func() { broken(transport.Unreachable(ctx)) }()
		_, err = transport.Replies(asking)
		if cause := context.Cause(asking); err != nil && cause != nil {
			err = cause
		}
		_ = transport.Close(ctx)
	}
	c.result("broker", err, "queues can be made and consumed")
}

// database checks the tables, and whether this worker could resume the unfinished operations.
func (c *check) database(ctx context.Context) {
	if file := strings.TrimPrefix(c.cfg.String("database", "connection"), "sqlite:///"); embedded(c.cfg) {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			c.add(checkOK, "database", "%s is made at the first start", file)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	db, err := database.FromConfig(ctx, c.cfg, c.log)
	if err != nil {
		c.result("database", err, "")
		return
	}
	defer db.Close()
	if err := db.Check(ctx); err != nil {
		if refused := database.Refused(err); refused != nil {
			err = fmt.Errorf("%s: %w", refused.Advice(), err)
		}
		c.result("database", err, "")
		return
	}
	c.add(checkOK, "database", "every table is there and can be written to")
	kept := journal.Open(db, journal.Options{})
	defer kept.Close()
	c.operations(ctx, db, kept)
}

// operations reports unfinished operations that this worker could not resume, for example because
// the workers have different keys.
func (c *check) operations(ctx context.Context, db *database.DB, kept *journal.SQL) {
	open, err := kept.List(ctx, journal.Filter{Unfinished: true, Limit: 100})
	if database.Refused(err) != nil {
		return // the journal is new, and the first worker creates it
	}
	if err != nil {
		c.result("journal", err, "")
		return
	}
	key := c.cfg.String("DEFAULT", "journal_key_file")
	if _, err := os.Stat(key); err != nil {
		if len(open) > 0 {
			c.add(checkFailure, "journal", "other workers have operations under way, and there is no %s: copy theirs", key)
		}
		return
	}
	sealer, err := journal.NewSealer(key)
	if err != nil {
		return // reported already
	}
	engine := operation.New(operation.Config{Records: db, Log: c.log, Journal: kept, Providers: c.loaded, Sealer: sealer,
		AcceptUnsigned: c.cfg.Bool("DEFAULT", "journal_accept_unsigned")})
	defer engine.Stop(ctx)
	for _, entry := range open {
		if err := engine.Readable(ctx, entry); err != nil {
			c.add(checkFailure, "journal", "%s %s could not be gone on with: %s", entry.Kind, entry.ID, fault.Detail(err))
			return
		}
	}
	c.add(checkOK, "journal", "%d operations are under way, and could be gone on with", len(open))
}

// services looks up the services of the protected resource types in Keystone.
func (c *check) services(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var wanted []string
	for _, p := range c.loaded.All() {
		for _, kind := range p.Types() { // such as OS::Cinder::Volume
			if parts := strings.Split(kind, "::"); len(parts) == 3 && !slices.Contains(wanted, strings.ToLower(parts[1])) {
				wanted = append(wanted, strings.ToLower(parts[1]))
			}
		}
	}
	for _, name := range wanted {
		endpoint, err := c.clients.Endpoint(ctx, name)
		switch {
		case errors.Is(err, openstack.ErrUnknownService): // Keystone itself, or a service outside of OpenStack
		case errors.Is(err, openstack.ErrNoService): // callers' catalogues may have the service
			c.add(checkWarning, "services", "%s: %s", name, fault.Detail(err))
		case err != nil:
			c.add(checkFailure, "services", "%s", fault.Detail(err))
			return
		default:
			c.add(checkOK, "services", "%s is at %s", name, endpoint)
		}
	}
}

// unknownOptions returns the keys in the files that no option reads, except for those of the other
// programs that share the file.
func unknownOptions(cfg *config.Config) []string {
	var texts []string
	for _, u := range cfg.Unknown() {
		if u.Name.Group == config.DefaultGroup && slices.Contains(othersOptions, u.Name.Name) {
			continue
		}
		// Sections for libraries of the other programs are not fully known here, so only probable
		// typing errors are reported.
		if u.Name.Group != config.DefaultGroup && u.Similar == (config.Name{}) {
			continue
		}
		texts = append(texts, u.String())
	}
	return texts
}

// othersOptions are the options in [DEFAULT] that the API, the operation engine and their libraries
// read.
// karbor: common/config.py, service.py, quota.py, api/, wsgi/, services/operationengine/;
// oslo.log, oslo.service, oslo.messaging
var othersOptions = strings.Fields(`
	api_paste_config auth_strategy backdoor_port backdoor_socket client_socket_timeout conn_pool_min_size conn_pool_ttl db_driver
	executor fatal_deprecations fatal_exception_format_errors instance_format instance_uuid_format log_color log_options
	logging_context_format_string logging_debug_format_suffix logging_default_format_string logging_exception_prefix
	logging_user_identity_format max_age max_header_line max_window_time min_interval min_window_time operationengine_manager
	operationengine_topic osapi_karbor_base_URL osapi_karbor_listen osapi_karbor_listen_port osapi_karbor_workers osapi_max_limit
	periodic_fuzzy_delay periodic_interval protection_manager provider_registry publish_errors query_checkpoint_filters
	query_instance_filters query_operation_log_filters query_plan_filters query_provider_filters query_restore_filters
	query_verification_filters quota_checkpoints quota_driver quota_plans rate_limit_burst rate_limit_except_level
	rate_limit_interval reservation_expire retained_operation_log_number rpc_response_timeout run_external_periodic_tasks
	scheduling_strategy sync_status_interval tcp_keepalive tcp_keepalive_count tcp_keepalive_interval tcp_keepidle thread_count
	time_format trigger_poll_interval until_refresh use_forwarded_for workflow_engine wsgi_default_pool_size wsgi_keep_alive
	wsgi_log_format wsgi_server_debug`)
