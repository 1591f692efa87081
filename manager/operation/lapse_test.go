// SPDX-License-Identifier: Apache-2.0

package operation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/guard"
	"github.com/karbor-project/karbor/providers/protection"
)

// awake is the tenure of a process that was stopped: it has ended by the clock, and
// the timers have not fired yet.
type awake struct {
	*process
	over atomic.Bool
}

func (a *awake) Fence() func() error {
	return func() error {
		if a.over.Load() {
			return errors.Join(protection.ErrHandover, errKilled)
		}
		return context.Cause(a.process.ctx)
	}
}

// A process is stopped in the midst of a hook and goes on when its time is over: no
// service hears of it, the hook is told that its work has gone to others, and nobody
// believes that it failed.
func TestLapseInAHook(t *testing.T) {
	t.Parallel()
	heard := atomic.Int64{}
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	pool := &http.Transport{}
	client := &http.Client{Transport: guard.Transport(pool)}
	t.Cleanup(func() {
		pool.CloseIdleConnections()
		service.Close()
	})
	create := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, service.URL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("create it: %w", err)
		}
		return resp.Body.Close()
	}
	s := newSite(t)
	tenure, left := &awake{}, make(chan struct{})
	first := s.process(t, onMain(protection.Protect, func(ctx context.Context, _ *protection.Call) error {
		tenure.over.Store(true)
		err := create(ctx)
		if !errors.Is(err, errKilled) || protection.Handover(ctx, err) == nil || heard.Load() != 0 {
			t.Errorf("the hook is told %v, %d requests came", err, heard.Load())
		}
		defer close(left)
		return protection.Handover(ctx, err)
	}), nil, func(c *Config) {
		tenure.process = c.Tenure.(*process)
		c.Tenure = tenure
	})
	id, err := first.engine.Protect(first.bench.ctx, Message{}, first.provider, planOf(volume), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-left
	first.kill() // now they fire
	first.engine.alive.Wait()
	if status := first.checkpoint(t, id).Status(); status != checkpoint.Protecting {
		t.Errorf("the checkpoint is %s, nobody has finished it", status)
	}

	second := s.process(t, onMain(protection.Protect, func(ctx context.Context, _ *protection.Call) error { return create(ctx) }), nil)
	second.adopt(t, s.journal)
	if status := second.checkpoint(t, id).Status(); status != checkpoint.Available || heard.Load() != 1 {
		t.Errorf("the checkpoint is %s, %d requests came", status, heard.Load())
	}
}
