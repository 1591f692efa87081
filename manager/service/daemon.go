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

// service is what a daemon runs; instance is the one outside of tests.
type service interface {
	// start returns nil when requests are consumed.
	start(ctx context.Context) error
	// drain takes no more requests, and returns when none will begin. It comes after start.
	drain(ctx context.Context)
	// stop takes no more requests, lets operations finish until ctx ends, and
	// closes everything. It may come at any time, once start has returned.
	stop(ctx context.Context)
	view() view
	// status tells, for people, what the service does or waits for. It may be asked from
	// the beginning of start on.
	status() string
	// report writes what the service is doing, for people. It may be asked for as status may.
	report(io.Writer)
	String() string
}

// statusInterval is how often systemd hears what the service does, and the log what a
// start waits for.
const statusInterval = 10 * time.Second

// daemon runs one instance of the service after the other: SIGHUP replaces the
// one that serves by one with the configuration as it is now. The new instance
// consumes before the old one lets go, so that an instance that cannot start
// costs nothing.
//
// One loop decides everything. What may take time (reading files, starting,
// stopping) runs in other goroutines, so that signals are obeyed at any moment.
type daemon struct {
	version string
	load    func() (*config.Config, error)
	make    func(context.Context, *config.Config) (service, error)
	log     *telemetry.Log
	notify  *systemd.Notifier
	monitor *monitor

	// Signals. One that waits to be read stands for all of its kind that came in the
	// meantime, and reloads cannot hide a request to stop.
	terminate <-chan os.Signal // SIGTERM and SIGINT
	hangUp    <-chan os.Signal // SIGHUP
	inquire   <-chan os.Signal // SIGUSR2

	current *attempt // serves, or is to be the first that does; nil when that one could not
	next    *attempt // is to follow current; nil without a reload under way
	again   bool     // another reload is to follow the one under way

	// hard ends when operations may take no more time.
	hard     context.Context
	endHard  context.CancelFunc
	retiring sync.WaitGroup
	stopped  chan struct{} // closed when everything has ended; nil before the end has begun
	failure  error         // why the end has begun
	trouble  string        // of the last reload, if that failed
	grace    time.Duration // for operations at the end; 0 is no limit
}

// attempt is an instance from the reading of its configuration until it serves.
type attempt struct {
	cancel   context.CancelFunc
	finished chan struct{} // closed when the fields below are set
	cfg      *config.Config
	instance service                 // nil when it could not be made
	err      error                   // nil when it serves
	starting atomic.Pointer[service] // the instance from before its start on

	noticed bool // the loop has seen the outcome
}

// outcome returns a channel that is closed when the attempt has an outcome that the
// loop has not seen yet.
func (a *attempt) outcome() <-chan struct{} {
	if a == nil || a.noticed {
		return nil
	}
	return a.finished
}

// serves reports whether the instance has begun to serve.
func (a *attempt) serves() bool { return a != nil && a.noticed && a.err == nil }

// run serves until SIGTERM or SIGINT, and then until operations have finished
// or graceful_shutdown_timeout is over. A second signal ends that time at once,
// a third one the process.
func (d *daemon) run(cfg *config.Config) error {
	d.hard, d.endHard = context.WithCancel(context.Background())
	defer d.endHard()
	var alive <-chan time.Time // ticks while systemd wants to know
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

// tell says what the service does, or what its start waits for.
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

// launch begins to make and start an instance, whose view goes to made. When it serves,
// the one before it is drained: what is asked from then on is answered with the new
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

// drain ends the taking of requests by an attempt that serves.
func (a *attempt) drain(ctx context.Context) {
	if a == nil {
		return
	}
	select {
	case <-a.finished:
		if a.err == nil {
			a.instance.drain(ctx)
		}
	default: // it never will: its start is cancelled
	}
}

// retire ends an attempt, and the instance that has come of it, in the
// background. Its operations have the time that the process has.
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

// reload begins to replace the instance. One reload is under way at a time: a
// signal during it ends it and begins another one.
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

// nextFinished handles the outcome of a reload: a takeover or nothing.
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

// reloadFailed says that the old configuration stays in use.
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

// stop obeys a signal to stop. An error ends the process at once.
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

// end stops everything, for a reason or because it was asked to.
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

// warnNotify logs that systemd could not be notified, on which nothing depends.
func (d *daemon) warnNotify(err error) {
	if err != nil {
		d.log.Warnf("telling systemd: %v", err)
	}
}

// monotonic is the time that systemd compares reloads by, CLOCK_MONOTONIC.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
