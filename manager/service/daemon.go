// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/systemd"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// daemon runs one instance of the service after the other: SIGHUP replaces the
// one that serves by one with the configuration as it is now, while the old
// one's operations go on to their end.
type daemon struct {
	version string
	setup   Setup
	load    func() (*config.Config, error)
	log     *telemetry.Log
	notify  *systemd.Notifier
	monitor *monitor
	signals chan os.Signal

	// hard ends when operations may take no more time.
	hard     context.Context
	hurry    context.CancelFunc
	retiring sync.WaitGroup
}

// run serves until SIGTERM or SIGINT, and then until operations have finished
// or graceful_shutdown_timeout is over. A second signal ends that time at once,
// a third one the process.
func (d *daemon) run(cfg *config.Config) error {
	d.notify = systemd.FromEnvironment()
	d.signals = make(chan os.Signal, 4)
	signal.Notify(d.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(d.signals)
	d.hard, d.hurry = context.WithCancel(context.Background())
	defer d.hurry()
	var err error
	if d.monitor, err = newMonitor(cfg.String("DEFAULT", "metrics_listen"), d.log); err != nil {
		return err
	}
	defer d.monitor.close()
	current, err := newInstance(d.hard, cfg, d.setup, d.log)
	if err != nil {
		return err
	}
	for {
		d.tellConfig(current.cfg)
		next, err := d.serve(current)
		if err != nil {
			return errors.Join(err, d.end(current))
		}
		if next == nil {
			return d.end(current)
		}
		d.retire(current)
		current = next
	}
}

// serve starts an instance and waits for what ends its turn: it returns the
// instance that is to follow, or nil when the process is to end.
func (d *daemon) serve(current *instance) (*instance, error) {
	d.monitor.show(current.view())
	ctx, cancel := context.WithCancel(d.hard)
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- current.start(ctx) }()
	defer func() { // it may still be waiting for the broker
		cancel()
		if started != nil {
			<-started
		}
	}()
	for {
		select {
		case err := <-started:
			started = nil
			if err != nil {
				return nil, err
			}
			d.log.Infof("version %s serves topic %s as %s", d.version, current.topic, current.host)
			d.tell(d.notify.Ready())
		case received := <-d.signals:
			if received != syscall.SIGHUP {
				d.log.Infof("%s: no new requests are taken, running operations finish", received)
				return nil, nil
			}
			if next := d.reload(); next != nil {
				return next, nil
			}
		}
	}
}

// reload makes an instance of the configuration as it is now. With a wrong one
// the service stays as it is.
func (d *daemon) reload() *instance {
	if err := d.log.Reopen(); err != nil {
		d.log.Errorf("reopen the log: %v", err)
	}
	d.tell(d.notify.Reloading(monotonic()))
	cfg, err := d.load()
	if err == nil {
		var next *instance
		if next, err = newInstance(d.hard, cfg, d.setup, d.log); err == nil {
			d.log.Info("SIGHUP: the configuration is read again")
			return next
		}
	}
	d.log.Errorf("SIGHUP: the service goes on with the old configuration, since the new one is wrong: %v", err)
	d.tell(d.notify.Ready())
	return nil
}

// retire stops an instance in the background. Its operations have the time that
// the process has.
func (d *daemon) retire(old *instance) {
	d.retiring.Go(func() {
		if err := old.stop(d.hard); err != nil {
			d.log.Warnf("end the old configuration's part: %v", err)
		}
	})
}

// end stops what runs and waits for it.
func (d *daemon) end(current *instance) error {
	d.tell(d.notify.Stopping())
	if seconds := current.cfg.Int("DEFAULT", "graceful_shutdown_timeout"); seconds > 0 {
		timer := time.AfterFunc(time.Duration(seconds)*time.Second, d.hurry)
		defer timer.Stop()
	}
	done := make(chan error, 1)
	go func() {
		err := current.stop(d.hard)
		d.retiring.Wait()
		done <- err
	}()
	for {
		select {
		case err := <-done:
			d.log.Info("stopped")
			return err
		case received := <-d.signals:
			switch {
			case received == syscall.SIGHUP:
			case d.hard.Err() == nil:
				d.log.Warnf("%s again: running operations are ended", received)
				d.hurry()
			default:
				return fmt.Errorf("%s while operations were being ended", received)
			}
		}
	}
}

func (d *daemon) tellConfig(cfg *config.Config) {
	for _, warning := range cfg.Warnings() {
		d.log.Warn(warning)
	}
	for _, line := range cfg.Dump() {
		d.log.Debug(line)
	}
}

// tell logs that the service manager could not be told something. The service
// does not depend on it.
func (d *daemon) tell(err error) {
	if err != nil {
		d.log.Warnf("tell systemd: %v", err)
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
