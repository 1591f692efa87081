// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/telemetry"
)

// Registrar maintains the rows of the table services.
type Registrar interface {
	RegisterService(ctx context.Context, s database.Service) (int64, error)
	Heartbeat(ctx context.Context, id int64) (int64, error)
}

// heartbeat tells karbor-api, through the table services, that this node is alive.
// karbor: service.py report_state
type heartbeat struct {
	db       Registrar
	row      database.Service
	interval time.Duration
	log      logrus.FieldLogger

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newHeartbeat(cfg *config.Config, db Registrar, host string, log logrus.FieldLogger) *heartbeat {
	h := &heartbeat{
		db: db, log: telemetry.Named(log, "heartbeat"),
		row: database.Service{Host: host, Binary: Program, Topic: Program, Disabled: !cfg.Bool("DEFAULT", "enable_new_services")},
	}
	interval, down := cfg.Int("DEFAULT", "report_interval"), cfg.Int("DEFAULT", "service_down_time")
	h.interval = time.Duration(interval) * time.Second
	if interval > 0 && down <= interval {
		h.log.Warnf("service_down_time (%d s) does not exceed report_interval (%d s): karbor-api will take this service for down. "+
			"Set service_down_time to %d there and here.", down, interval, interval*5/2)
	}
	return h
}

func (h *heartbeat) start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.done.Go(func() { h.run(ctx) })
}

func (h *heartbeat) stop() {
	if h.cancel == nil {
		return
	}
	h.cancel()
	h.done.Wait()
}

// run registers the service and then updates its row periodically. Registration is retried on each
// beat until it succeeds; the database logs its outages itself.
func (h *heartbeat) run(ctx context.Context) {
	id, err := h.db.RegisterService(ctx, h.row)
	registered := err == nil
	h.report(ctx, err)
	if h.interval == 0 && registered {
		return
	}
	ticker := time.NewTicker(max(h.interval, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if registered {
			id, err = h.db.Heartbeat(ctx, id)
		} else {
			id, err = h.db.RegisterService(ctx, h.row)
			registered = err == nil
		}
		h.report(ctx, err)
		if registered && h.interval == 0 {
			return
		}
	}
}

func (h *heartbeat) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		h.log.Warnf("%v", err)
	}
}
