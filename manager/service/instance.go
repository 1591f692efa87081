// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/manager"
	"github.com/karbor-project/karbor/manager/janitor"
	"github.com/karbor-project/karbor/manager/notification"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/ownership"
	"github.com/karbor-project/karbor/manager/page"
	"github.com/karbor-project/karbor/manager/service/messaging"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/printable"
	"github.com/karbor-project/karbor/pkg/telemetry"
	"github.com/karbor-project/karbor/pkg/wait"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	protectables "github.com/karbor-project/karbor/providers/protectable/builtin"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/metrics"
	"github.com/karbor-project/karbor/rpc/middleware"
	"github.com/karbor-project/karbor/rpc/rabbit"
)

// closeTime bounds the closing of the connection to the broker.
const closeTime = 5 * time.Second

// instance is the service with one configuration.
type instance struct {
	cfg         *config.Config
	host, topic string
	log         *telemetry.Log

	db        *database.DB
	journal   *journal.SQL
	keeper    *ownership.Keeper
	sync      bool // create karbor's tables at the start
	clients   *openstack.Factory
	providers *providers.Registry
	engine    *operation.Engine
	janitor   *janitor.Janitor
	transport *rabbit.Transport
	server    *rpc.Server
	notices   *notification.Sender // nil without a driver
	noticesTo *rabbit.Transport    // nil: transport
	metrics   *metrics.Metrics     // nil without metrics_listen
	heartbeat *heartbeat
	banks     *bankProbe

	ending context.Context // cancelled by stop
	end    context.CancelFunc
	later  sync.WaitGroup // background goroutines

	refused atomic.Value // string: why the tables of the database cannot be used yet; empty if they can

	once sync.Once
}

// String returns what is served, for operators.
func (i *instance) String() string { return "topic " + i.topic + " as " + i.host }

// status implements service.
func (i *instance) status() string {
	if why, _ := i.refused.Load().(string); why != "" {
		return "waiting for the database: " + why
	}
	if err := brokerError(i.transport.Stats()); err != nil {
		return "waiting for the broker: " + fault.Detail(err)
	}
	running, waiting := i.engine.Running()
	return fmt.Sprintf("serving %s; operations: %d running, %d waiting", i, running, waiting)
}

// newInstance creates the parts of an instance. None of them connects to anything yet.
func newInstance(ctx context.Context, cfg *config.Config, setup Setup, log *telemetry.Log) (_ *instance, err error) {
	i := &instance{cfg: cfg, host: cfg.String("DEFAULT", "host"), topic: cfg.String("DEFAULT", "protection_topic"), log: log}
	i.ending, i.end = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			i.stop(ctx)
		}
	}()
	if i.db, err = openDatabase(ctx, cfg, log); err != nil {
		return nil, err
	}
	i.sync = embedded(cfg)
	identity, err := openstack.FromConfig(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	i.clients = openstack.New(identity, telemetry.Named(log, "openstack"))
	clients := i.clients
	if setup.Wrap.HTTP != nil {
		clients = clients.Wrapped(setup.Wrap.HTTP)
	}
	if err = i.openJournal(cfg, setup.Wrap); err != nil {
		return nil, err
	}
	cluster := newCluster(cfg)
	if i.providers, err = loadProviders(cfg, setup, clients, cluster, log); err != nil {
		return nil, usageError{err}
	}
	i.banks = newBankProbe(i.providers, time.Duration(cfg.Int("DEFAULT", "bank_check_interval"))*time.Second, telemetry.Named(log, "providers"))
	registry := protectable.NewRegistry(protectable.Options{Log: telemetry.Named(log, "protectable"), MaxLinks: cfg.Int("DEFAULT", "max_links_per_operation")},
		protectables.FromConfig(cfg, clients, cluster)...)
	if err = i.makeEngine(cfg, setup, registry); err != nil {
		return nil, usageError{err}
	}
	m := manager.New(manager.Config{Providers: i.providers, Protectables: registry, Operations: i.engine, Records: i.db,
		Handlers: handlers(cfg), Log: log, BankError: i.banks.last,
		Answers: manager.Answers{Bytes: cfg.Int("DEFAULT", "max_answer_bytes"), Total: cfg.Int("DEFAULT", "max_listing_bytes")}})
	if i.transport, err = messaging.NewTransport(cfg, config.DefaultGroup, telemetry.Named(log, "rpc")); err != nil {
		return nil, usageError{err}
	}
	if err = i.makeSender(cfg); err != nil {
		return nil, usageError{err}
	}
	target := rpc.Target{Exchange: cfg.String("DEFAULT", "control_exchange"), Topic: i.topic, Server: i.host}
	i.server, err = rpc.NewServer(wrapped[rpc.Transport](setup.Wrap.Transport, i.transport), target, m.Endpoints(), rpc.ServerOptions{
		Workers: requestsInHand * cfg.Int("DEFAULT", "executor_thread_pool_size"), Ping: cfg.Bool("DEFAULT", "rpc_ping_enabled"),
		Failure: manager.Failure, Log: telemetry.Named(log, "rpc"), Middleware: i.measure(),
	})
	if err != nil {
		return nil, usageError{err}
	}
	i.heartbeat = newHeartbeat(cfg, i.db, i.host, log)
	return i, nil
}

// makeSender creates the sender of notifications, if the configuration asks for any.
func (i *instance) makeSender(cfg *config.Config) (err error) {
	to := i.transport
	if cfg.String(notification.Group, "transport_url") != "" {
		if to, err = messaging.NewTransport(cfg, notification.Group, telemetry.Named(i.log, "rpc")); err != nil {
			return err
		}
		i.noticesTo = to
	}
	i.notices, err = notification.FromConfig(cfg, Program, i.host, to, telemetry.Named(i.log, "notification"))
	return err
}

// requestsInHand is the number of requests that a worker holds for each that it handles. The others
// wait for the turn of their project.
const requestsInHand = 4

// handlers divides the pool: each project may use a third of it, and a quarter is reserved for
// methods that only read. As many requests as the pool has room for may wait for their turn.
func handlers(cfg *config.Config) manager.Handlers {
	pool := cfg.Int("DEFAULT", "executor_thread_pool_size")
	h := manager.Handlers{Total: pool, PerProject: max(1, pool/3), Starting: max(1, pool-pool/4), Waiting: pool}
	if n := cfg.Int("DEFAULT", "max_requests_per_project"); n > 0 {
		h.PerProject = n
	}
	return h
}

// measure creates the metrics that the configuration asks for.
func (i *instance) measure() []rpc.Middleware {
	if i.cfg.String("DEFAULT", "metrics_listen") == "" {
		return nil
	}
	i.metrics = metrics.New()
	// Registering cannot fail, since the registry is new.
	_ = i.metrics.Watch(i.transport)
	i.metrics.Registry().MustRegister(collector{i.providers, i.engine, i.journal, i.janitor}, i.clients.Metrics(), i.banks)
	if i.notices != nil {
		i.metrics.Registry().MustRegister(i.notices)
	}
	return []rpc.Middleware{i.metrics.Middleware(), middleware.Recovery()}
}

// view returns the data for the monitor.
func (i *instance) view() view {
	if i.metrics == nil {
		return view{}
	}
	return view{metrics: i.metrics.Registry(), consuming: func() bool { return i.transport.Stats().Consuming }, ready: i.readiness, page: i.page}
}

func loadProviders(cfg *config.Config, setup Setup, clients *openstack.Factory, cluster kubernetes.Cluster, log logrus.FieldLogger) (*providers.Registry, error) {
	dir, err := providers.FindDir(cfg.String("DEFAULT", "provider_config_dir"))
	if err != nil {
		return nil, err
	}
	loader := &providers.Loader{Banks: setup.Banks, Plugins: setup.Plugins, Clients: clients,
		Cluster: cluster, Log: telemetry.Named(log, "providers"), Memory: filepath.Join(cfg.String("DEFAULT", "state_path"), "banks")}
	return loader.Load(dir)
}

// start begins to serve. It waits for the broker, but not for the database.
func (i *instance) start(ctx context.Context) error {
	if i.sync {
		if err := i.db.Sync(ctx); err != nil {
			return fmt.Errorf("making the tables of the embedded database: %w", err)
		}
	}
	if err := i.startKeeper(ctx); err != nil {
		return err
	}
	if err := i.server.Start(ctx); err != nil {
		return fmt.Errorf("serving topic %s: %w", i.topic, err)
	}
	// The node becomes visible and active only once it serves, so an instance that cannot start
	// leaves no trace.
	i.heartbeat.start()
	i.banks.start()
	i.janitor.Start()
	return nil
}

// drain implements service. A broker that does not answer must not delay the next instance.
func (i *instance) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	i.warn("the old configuration may answer for a moment", i.server.Cancel(ctx))
}

// stop stops taking requests, lets operations finish until ctx ends, and closes everything. It is
// idempotent, and works on a partly created instance. Errors are logged only, since they do not
// affect the service.
func (i *instance) stop(ctx context.Context) {
	i.once.Do(func() { i.close(ctx) })
}

func (i *instance) close(ctx context.Context) {
	if i.server != nil {
		// A reply that a vanished client does not accept would outlast the time.
		i.warn("requests are cut off", i.server.Stop(ctx))
	}
	if i.janitor != nil {
		i.janitor.Stop(ctx)
	}
	if i.engine != nil {
		i.engine.Stop(ctx)
	}
	if i.keeper != nil {
		// Other workers resume the remaining operations at once.
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		i.warn("others go on with the operations later", i.keeper.Stop(after))
		cancel()
	}
	// The following steps are short, and run even if the time for operations is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if i.heartbeat != nil {
		i.heartbeat.stop()
	}
	if i.banks != nil {
		i.banks.stop()
	}
	i.notices.Stop(ctx)
	if i.noticesTo != nil {
		i.warn("closing the connection to the broker of notifications", i.noticesTo.Close(ctx))
	}
	if i.transport != nil {
		i.warn("closing the connection to the broker", i.transport.Close(ctx))
	}
	if i.providers != nil {
		i.warn("closing the providers", i.providers.Close())
	}
	if i.clients != nil {
		i.clients.Close()
	}
	i.end()
	i.later.Wait()
	if i.journal != nil {
		i.warn("closing the journal", i.journal.Close())
	}
	if i.db != nil {
		i.warn("closing the database", i.db.Close())
	}
}

// warn logs that a step of stop failed.
func (i *instance) warn(step string, err error) {
	if err != nil {
		i.log.Warnf("%s: %v", step, err)
	}
}

// journalOptions are the options about the data that operations keep in order to outlive their
// worker.
func journalOptions() []config.Option {
	return []config.Option{
		{Name: "journal_key_file", Kind: config.String, Default: "$state_path/journal.key",
			Help: "The file of the keys with which callers' credentials are encrypted in the journal of operations, and its entries signed: " +
				"32 bytes in hexadecimal in each line, of which the first seals and all open. It is made when it is missing. It may be readable " +
				"to its owner and a group of the service only. Workers that share a database need the same one to go on with each other's operations."},
		{Name: "journal_accept_unsigned", Kind: config.Bool, Default: false,
			Help: "Whether to go on with operations whose entries in the journal are not signed, as workers of older versions begin them. " +
				"Whoever can write to the database can then make up operations. Set it for the time of an upgrade only."},
	}
}

// openJournal prepares the journal in karbor's own database.
func (i *instance) openJournal(cfg *config.Config, wrap Wrap) error {
	i.journal = journal.Open(i.db, journal.Options{})
	kept := ownership.FromConfig(cfg)
	kept.Journal, kept.Host, kept.Log = wrapped[journal.Journal](wrap.Journal, i.journal), i.host, telemetry.Named(i.log, "ownership")
	if embedded(cfg) {
		// No other machine uses the database, so an owner whose process is gone is dead at once.
		kept.Locks = filepath.Join(cfg.String("DEFAULT", "state_path"), "owners")
	}
	// The engine is created later, but before the keeper starts.
	kept.Adopt = func(e journal.Entry) { i.engine.Adopt(e) }
	kept.Able = func(e journal.Entry) error { return i.engine.Able(e) }
	kept.Working = func(id string) bool { return i.engine.Working(id) }
	kept.Cancel = func(e journal.Entry) { i.engine.Cancelled(e.ID, e.CancelledBy) }
	var err error
	if i.keeper, err = ownership.New(kept); err != nil {
		return usageError{err}
	}
	return nil
}

// makeEngine creates the engine of operations and the janitor.
func (i *instance) makeEngine(cfg *config.Config, setup Setup, protectables operation.Grapher) error {
	sealer, err := journal.NewSealer(cfg.String("DEFAULT", "journal_key_file"))
	if err != nil {
		return fmt.Errorf("option journal_key_file in section [DEFAULT]: %w", err)
	}
	c := operation.Config{
		Denials:      filepath.Join(cfg.String("DEFAULT", "state_path"), "denied"),
		Protectables: protectables, Records: wrapped[operation.Records](setup.Wrap.Records, i.db), Log: i.log,
		Journal: wrapped[journal.Journal](setup.Wrap.Journal, i.journal), Tenure: i.keeper, Sealer: sealer,
		AcceptUnsigned: cfg.Bool("DEFAULT", "journal_accept_unsigned"),
		Providers:      i.providers,
		Reachable:      i.banks.reachable,
		Observe: func(e operation.Event) {
			if setup.Observe != nil {
				setup.Observe(e)
			}
			i.notices.Observe(e)
		},
	}
	c.Configure(cfg)
	i.engine = operation.New(c)
	clean := janitor.FromConfig(cfg)
	clean.Providers, clean.Journal, clean.Judge, clean.Records = i.providers.All(), i.journal, i.engine, i.db
	clean.Tenure, clean.Owner, clean.Log = i.keeper, i.keeper.ID(), telemetry.Named(i.log, "janitor")
	i.janitor = janitor.New(clean)
	return nil
}

// syncDelays are the delays between attempts to create the journal's tables, and to find karbor's.
var syncDelays = wait.Exponential(time.Second, 30*time.Second)

// startKeeper waits for the tables and then starts the keeper.
func (i *instance) startKeeper(ctx context.Context) error {
	if err := i.awaitTables(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	return i.keeper.Start(ctx)
}

// awaitTables creates the journal's tables, and waits until they and karbor's own exist and are
// writable. An unavailable database delays operations but not the service: the wait then continues
// in the background.
func (i *instance) awaitTables(ctx context.Context) error {
	told := ""
	for delays := syncDelays; ; {
		first, cancel := context.WithTimeout(ctx, closeTime)
		err := i.syncTables(first)
		cancel()
		if err == nil {
			i.refused.Store("")
			return nil
		}
		i.refused.Store(fault.Detail(err))
		refusal := database.Refused(err)
		if refusal == nil {
			i.log.Warnf("the journal of operations is not there yet: %v", err)
			i.later.Go(func() { i.syncLater() })
			return nil
		}
		if text := err.Error(); text != told {
			i.log.Errorf("no requests are taken yet, since %s: %v", refusal.Advice(), err)
			told = text
		}
		if err := wait.Sleep(ctx, delays.NextBackOff()); err != nil {
			return err
		}
	}
}

// syncTables creates the tables of the journal, and checks karbor's own, which karbor-manage or
// --db-sync creates.
func (i *instance) syncTables(ctx context.Context) error {
	if err := i.journal.Sync(ctx); err != nil {
		return err
	}
	return i.db.Check(ctx)
}

// syncLater retries until the tables exist.
func (i *instance) syncLater() {
	for delays := syncDelays; wait.Sleep(i.ending, delays.NextBackOff()) == nil; {
		err := i.syncTables(i.ending)
		switch {
		case err == nil:
			i.refused.Store("")
			i.log.Info("the journal of operations is there")
			return
		case i.ending.Err() != nil:
		case database.Refused(err) != nil:
			i.log.Errorf("no operation can be recorded, since %s: %v", database.Refused(err).Advice(), err)
		default:
			i.log.Debugf("making the tables of the journal: %v", err)
		}
	}
}

// readiness checks everything that the instance depends on.
func (i *instance) readiness(ctx context.Context) readiness {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	r := readiness{
		Broker: conditionOf(brokerError(i.transport.Stats())), Database: conditionOf(i.db.Ping(ctx)), Providers: i.banks.status(),
	}
	for _, left := range i.providers.LeftOut() {
		r.Providers = append(r.Providers, providerStatus{File: left.File, condition: conditionOf(left.Err)})
	}
	r.Ready = r.Broker.Up && r.Database.Up
	for _, p := range r.Providers {
		r.Ready = r.Ready && p.Up
	}
	return r
}

// failuresAmong is the number of operations that are searched for failures, and failuresShown the
// maximum number of failures shown.
const (
	failuresAmong = 500
	failuresShown = 10
)

// page returns the content of the status page.
func (i *instance) page(ctx context.Context) page.State {
	ready := i.readiness(ctx)
	s := page.State{
		Host: i.host, Now: time.Now().UTC(), Ready: ready.Ready, Running: i.engine.Work(), Services: []page.Service{
			{Name: "broker", Up: ready.Broker.Up, Reason: ready.Broker.Reason}, {Name: "database", Up: ready.Database.Up, Reason: ready.Database.Reason},
		},
	}
	for _, p := range ready.Providers {
		s.Providers = append(s.Providers, page.Provider{ID: p.ID, Service: page.Service{Name: cmp.Or(p.Name, p.ID, p.File), Up: p.Up, Reason: p.Reason}})
	}
	if !ready.Database.Up {
		s.Problem = "the database does not answer"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, journalTime)
	defer cancel()
	workers, err := i.engine.Workers(ctx)
	if err == nil {
		s.Workers = workers
		var recent []operation.View
		recent, err = i.engine.Operations(ctx, journal.Filter{Limit: failuresAmong})
		recent = slices.DeleteFunc(recent, func(v operation.View) bool { return v.Status != string(journal.Failed) })
		s.Failures = recent[:min(len(recent), failuresShown)]
	}
	if err != nil {
		s.Problem = fault.Detail(err)
	}
	return s
}

// report implements service.
func (i *instance) report(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", i.status())
	fmt.Fprintln(out, "\nconnections to the broker")
	stats := i.transport.Stats()
	for _, link := range []struct {
		name string
		rabbit.LinkStats
	}{{"consume", stats.Consume}, {"publish", stats.Publish}} {
		fmt.Fprintf(out, "  %s: connected %t, %d so far, blocked %t, error %v\n", link.name, link.Connected, link.Connections, link.Blocked, link.Err)
	}
	fmt.Fprintln(out, "\nproviders")
	for _, p := range i.banks.status() {
		fmt.Fprintf(out, "  %s %s: up %t %s\n", p.ID, printable.Line(p.Name), p.Up, printable.Line(p.Reason))
	}
	for _, left := range i.providers.LeftOut() {
		fmt.Fprintf(out, "  %s is left out: %s\n", left.File, printable.Line(fault.Detail(left.Err)))
	}
	fmt.Fprintln(out, "\noperations")
	for _, o := range i.engine.Work() {
		fmt.Fprintf(out, "  %s %s, checkpoint %s\n", o.Type, o.ID, o.CheckpointID)
		for _, r := range o.Resources {
			fmt.Fprintf(out, "    %s %s: %s %s %d%%\n", printable.Line(r.Type), printable.Line(r.ID), r.Hook, r.State, r.Percent)
		}
	}
	fmt.Fprintln(out, "\nconfiguration")
	for _, line := range i.cfg.Dump() {
		fmt.Fprintln(out, "  "+printable.Line(line))
	}
}
