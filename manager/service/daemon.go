// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/systemd"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// service is the part that a daemon runs: an instance, except in tests.
type service interface {
	// start returns nil once requests are consumed.
	start(ctx context.Context) error
	// drain stops taking requests, and returns when none will begin any more. It is called after
	// start.
	drain(ctx context.Context)
	// stop stops taking requests, lets operations finish until ctx ends, and closes everything. It
	// may be called at any time after start has returned.
	stop(ctx context.Context)
	view() view
	// status describes, for operators, what the service does or waits for. It may be called from
	// the beginning of start on.
	status() string
	// report writes a detailed status for operators. It may be called whenever status may.
	report(io.Writer)
	String() string
}

// statusInterval is the interval of status notifications to systemd, and of log lines about a
// waiting start.
const statusInterval = 10 * time.Second

// daemon runs instances of the service one after the other: SIGHUP replaces the serving instance by
// one with the current configuration. The new instance consumes before the old one is drained, so
// that an instance that cannot start does no harm.
//
// One loop makes all decisions. Slow work (reading files, starting, stopping) runs in other
// goroutines, so that signals are handled at any moment.
type daemon struct {
	version string
	load    func() (*config.Config, error)
	make    func(context.Context, *config.Config) (service, error)
	log     *telemetry.Log
	notify  *systemd.Notifier
	monitor *monitor

	// Signals. A pending signal stands for all of its kind that have arrived meanwhile, and reloads
	// cannot hide a request to stop.
	terminate <-chan os.Signal // SIGTERM and SIGINT
	hangUp    <-chan os.Signal // SIGHUP
	inquire   <-chan os.Signal // SIGUSR2

	current *attempt // serves, or will be the first to serve; nil if it failed
	next    *attempt // replaces current; nil if no reload is in progress
	again   bool     // another reload follows the one in progress

	// hard ends when the time for operations is over.
	hard     context.Context
	endHard  context.CancelFunc
	retiring sync.WaitGroup
	stopped  chan struct{} // closed when everything has ended; nil before the end has begun
	failure  error         // why the end has begun
	trouble  string        // error of the last reload, if it failed
	grace    time.Duration // time for operations at the end; 0 is no limit
}

// attempt is an instance from the reading of its configuration until it serves.
type attempt struct {
	cancel   context.CancelFunc
	finished chan struct{} // closed when the fields below are set
	cfg      *config.Config
	instance service                 // nil if it could not be created
	err      error                   // nil if it serves
	starting atomic.Pointer[service] // the instance, set before its start

	noticed bool // the loop has handled the outcome
}

// outcome returns a channel that is closed when the attempt has an outcome that the loop has not
// handled yet.
func (a *attempt) outcome() <-chan struct{} {
	if a == nil || a.noticed {
		return nil
	}
	return a.finished
}

// serves reports whether the instance has begun to serve.
func (a *attempt) serves() bool { return a != nil && a.noticed && a.err == nil }

// run serves until SIGTERM or SIGINT, and then until operations have finished or
// graceful_shutdown_timeout is over. A second signal ends that time at once, a third one the
// process.
func (d *daemon) run(cfg *config.Config) error {
	d.hard, d.endHard = context.WithCancel(context.Background())
	defer d.endHard()
	var alive <-chan time.Time // ticks if systemd wants watchdog notifications
	if interval := d.notify.WatchdogInterval(); interval > 0 {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		alive = ticker.C
	}
	status := time.NewTicker(statusInterval)
	defer status.Stop()
	d.warnNotify(d.notify.Status("starting"))
	d.grace = gracePeriod(cfg)
	d.current = d.launch(nil, func() (*config.Config, error) { return cfg, nil }, d.monitor.show)
	for {
		select {
		case received := <-d.terminate:
			if err := d.stop(received); err != nil {
				return err
			}
		case <-d.hangUp:
			d.reload()
		case <-d.inquire:
			d.report(time.Now())
		case <-d.current.outcome():
			d.currentFinished()
		case <-d.next.outcome():
			d.nextFinished()
		case <-d.stopped:
			d.log.Info("stopped")
			return d.failure
		case <-alive:
			d.warnNotify(d.notify.Alive())
		case <-status.C:
			d.tell()
		}
	}
}

// tell notifies systemd of what the service does, and logs what its start waits for.
func (d *daemon) tell() {
	switch {
	case d.stopped != nil:
	case d.current.serves():
		d.warnNotify(d.notify.Status(d.current.instance.status() + d.trouble))
	case d.current != nil:
		if starting := d.current.starting.Load(); starting != nil {
			text := "starting; " + (*starting).status()
			d.log.Info(text)
			d.warnNotify(d.notify.Status(text))
		}
	}
}

// launch begins to create and start an instance, and calls made with its view. Once the instance
// serves, the one before it is drained, so that later requests are answered with the new
// configuration.
func (d *daemon) launch(before *attempt, load func() (*config.Config, error), made func(view)) *attempt {
	ctx, cancel := context.WithCancel(d.hard)
	a := &attempt{cancel: cancel, finished: make(chan struct{})}
	go func() {
		defer close(a.finished)
		if a.cfg, a.err = load(); a.err != nil {
			return
		}
		if a.instance, a.err = d.make(ctx, a.cfg); a.err != nil {
			a.instance = nil
			return
		}
		a.starting.Store(&a.instance)
		made(a.instance.view())
		d.logConfig(a.cfg)
		if a.err = a.instance.start(ctx); a.err == nil {
			before.drain(ctx)
		}
	}()
	return a
}

// drain makes a serving attempt stop taking requests.
func (a *attempt) drain(ctx context.Context) {
	if a == nil {
		return
	}
	select {
	case <-a.finished:
		if a.err == nil {
			a.instance.drain(ctx)
		}
	default: // it never will, since its start is cancelled
	}
}

// retire ends an attempt and its instance in the background. Its operations have the time limit of
// the process.
func (d *daemon) retire(a *attempt) {
	if a == nil {
		return
	}
	a.cancel()
	d.retiring.Go(func() {
		<-a.finished
		if a.instance != nil {
			a.instance.stop(d.hard)
			d.monitor.retired(a.instance.view())
		}
	})
}

// currentFinished handles the outcome of the first instance.
func (d *daemon) currentFinished() {
	first := d.current
	first.noticed = true
	if first.err == nil {
		d.serving()
		return
	}
	d.current = nil
	d.retire(first)
	if d.next == nil {
		d.end(first.err)
		return
	}
	d.log.Errorf("the configuration as it was read first cannot be served: %v", first.err)
}

// reload begins to replace the instance. Only one reload is in progress at a time: a signal during
// a reload cancels it and begins another one.
func (d *daemon) reload() {
	if err := d.log.Reopen(); err != nil {
		d.log.Errorf("reopening the log: %v", err)
	}
	switch {
	case d.stopped != nil:
	case d.next != nil:
		d.again = true
		d.next.cancel()
	default:
		d.log.Info("SIGHUP: the configuration is read again; what serves now goes on until the new configuration does")
		if d.current.serves() {
			d.warnNotify(d.notify.Reloading(monotonic(), "reloading; "+d.current.instance.String()+" is served meanwhile"))
		}
		d.next = d.launch(d.current, d.load, func(view) {})
	}
}

// nextFinished handles the outcome of a reload: it switches to the new instance, or keeps the old
// one.
func (d *daemon) nextFinished() {
	next, again := d.next, d.again
	next.noticed = true
	d.next, d.again = nil, false
	if next.err == nil {
		d.retire(d.current)
		d.current = next
		d.grace = gracePeriod(next.cfg)
		d.serving()
	} else {
		d.retire(next)
	}
	switch {
	case again:
		d.reload()
	case next.err == nil:
	case d.current == nil:
		d.end(next.err)
	default:
		d.reloadFailed(next.err)
	}
}

// reloadFailed reports that the old configuration stays in use.
func (d *daemon) reloadFailed(reason error) {
	d.log.Errorf("SIGHUP: the service goes on with the old configuration, since the new one cannot be served: %v", reason)
	d.trouble = fmt.Sprintf("; the last reload failed: %v", reason)
	if d.current.serves() {
		d.warnNotify(d.notify.Ready("serving " + d.current.instance.String() + d.trouble))
	}
}

func (d *daemon) serving() {
	d.trouble = ""
	d.monitor.show(d.current.instance.view())
	d.log.Infof("version %s serves %s", d.version, d.current.instance)
	d.warnNotify(d.notify.Ready("serving " + d.current.instance.String()))
}

// stop handles a signal to stop. An error ends the process at once.
func (d *daemon) stop(received os.Signal) error {
	switch {
	case d.stopped == nil:
		d.log.Infof("%s: no new requests are taken, running operations finish", received)
		d.end(nil)
	case d.hard.Err() == nil:
		d.log.Warnf("%s again: running operations are ended", received)
		d.endHard()
	default:
		return fmt.Errorf("%s while operations were being ended", received)
	}
	return nil
}

// end stops everything. reason is nil if a signal requested the end.
func (d *daemon) end(reason error) {
	d.failure = reason
	status := "stopping; running operations finish"
	if reason != nil {
		status = fmt.Sprintf("cannot serve: %v", reason)
	}
	d.warnNotify(d.notify.Stopping(status))
	if d.grace > 0 {
		timer := time.AfterFunc(d.grace, d.endHard)
		context.AfterFunc(d.hard, func() { timer.Stop() })
	}
	d.retire(d.current)
	d.retire(d.next)
	d.current, d.next = nil, nil
	stopped := make(chan struct{})
	d.stopped = stopped
	go func() {
		defer close(stopped)
		d.retiring.Wait()
	}()
}

func gracePeriod(cfg *config.Config) time.Duration {
	return time.Duration(cfg.Int("DEFAULT", "graceful_shutdown_timeout")) * time.Second
}

func (d *daemon) logConfig(cfg *config.Config) {
	for _, warning := range slices.Concat(cfg.Warnings(), unknownOptions(cfg)) {
		d.log.Warn(warning)
	}
	for _, line := range cfg.Dump() {
		d.log.Debug(line)
	}
}

// warnNotify logs that systemd could not be notified. Nothing depends on it.
func (d *daemon) warnNotify(err error) {
	if err != nil {
		d.log.Warnf("telling systemd: %v", err)
	}
}

// monotonic returns CLOCK_MONOTONIC, the time by which systemd orders reloads.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
