// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/karbor-project/karbor/rpc"
)

// observed is for how long a worker is watched while its operations wait. Their
// statuses are asked for every ten seconds.
const observed = 30 * time.Second

// waiting measures what operations cost that wait for a service.
func (b *bench) waiting(ctx context.Context) error {
	b.table.heading(fmt.Sprintf("%d operations that wait in polls, every ten seconds, embedded database", b.size.waits))
	progress("letting %d operations wait", b.size.waits)
	if err := os.Setenv(begunFile, b.site.path("begun")); err != nil {
		return err
	}
	w, err := b.hire(ctx, worker{state: "waits", name: waiting, plugin: waitPlugin})
	if err != nil {
		return err
	}
	return errors.Join(b.observe(ctx, w), w.kill())
}

func (b *bench) observe(ctx context.Context, w *process) error {
	before, err := w.memory("VmRSS")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.fill(ctx, b.size.waits); err != nil {
		return err
	}
	b.table.add(row{name: "accepted and waiting", unit: "1/s", more: true, ours: float64(b.size.waits) / time.Since(began).Seconds()})
	used, err := w.cpu()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(observed):
	}
	now, err := w.cpu()
	if err != nil {
		return err
	}
	after, err := w.memory("VmRSS")
	if err != nil {
		return err
	}
	b.table.add(row{name: "resident", unit: "MiB", ours: after})
	b.table.add(row{name: "resident, for each", unit: "kiB", ours: (after - before) * 1024 / float64(b.size.waits)})
	b.table.add(row{name: "CPU of one processor", unit: "%", ours: 100 * (now - used).Seconds() / observed.Seconds()})
	return nil
}

// adopting measures how long it takes until another worker has gone on with all
// operations of one that is killed.
func (b *bench) adopting(ctx context.Context) error {
	b.table.heading(fmt.Sprintf("%d operations run when their worker is killed: until all of their hooks run again elsewhere", b.size.adopted))
	return b.journals(ctx, func(name, url string) error {
		progress("killing a worker with %d operations in %s", b.size.adopted, name)
		took, err := b.adopt(ctx, worker{state: "adoption-" + name, name: waiting, plugin: waitPlugin, database: url})
		if err != nil {
			return fmt.Errorf("adoption with %s: %w", name, err)
		}
		how := ": the process is seen to be gone at once"
		if url != "" {
			how = ": operation_owner_hold is 30 s"
		}
		b.table.add(row{name: name + how, unit: "s", ours: took.Seconds()})
		return nil
	})
}

func (b *bench) adopt(ctx context.Context, w worker) (took time.Duration, err error) {
	victim, err := b.hire(ctx, w)
	if err != nil {
		return 0, err
	}
	if err := b.fill(ctx, b.size.adopted); err != nil {
		return 0, errors.Join(err, victim.kill())
	}
	w.host = "heir"
	heir, err := b.hire(ctx, w)
	if err != nil {
		return 0, errors.Join(err, victim.kill())
	}
	defer func() { err = errors.Join(err, heir.kill()) }()
	began := time.Now()
	if err := victim.kill(); err != nil {
		return 0, err
	}
	err = b.begun(ctx, 2*b.size.adopted)
	return time.Since(began), err
}

// The large plan.
const (
	largePlan  = 1000
	largeTimes = 5
)

// journaling measures protects of many resources by workers with a journal in
// different databases.
func (b *bench) journaling(ctx context.Context) error {
	bank := onDisk
	if b.site.memory != "" {
		bank = inMemory
	}
	b.table.heading(fmt.Sprintf("Protect of %d resources until available: no-op plugin, one at a time, median of %d", largePlan, largeTimes))
	return b.journals(ctx, func(name, url string) error {
		progress("protecting %d resources with the journal in %s", largePlan, name)
		w, err := b.hire(ctx, worker{state: "journal-" + name, name: waiting, database: url})
		if err != nil {
			return err
		}
		return errors.Join(b.protectLarge(ctx, w, bank, name), w.stop())
	})
}

func (b *bench) protectLarge(ctx context.Context, w *process, bank, journal string) error {
	protect, err := b.protect(waiting, bank, largePlan)
	if err != nil {
		return err
	}
	took, err := measure(ctx, w, largeTimes, 1, protect)
	if err != nil {
		return err
	}
	b.table.add(row{name: journal + ": latency, median", unit: "ms", ours: milliseconds(took.p50)})
	b.table.add(row{name: journal + ": CPU for one", unit: "ms", ours: milliseconds(took.cpu)})
	return nil
}

// hire starts a worker that can have the plugin that waits, and waits until it
// serves.
func (b *bench) hire(ctx context.Context, w worker) (*process, error) {
	config, err := b.site.configure(w)
	if err != nil {
		return nil, fmt.Errorf("configure a worker: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if w.database != "" {
		if out, err := exec.CommandContext(ctx, self, waiting, "--config-file", config, "--db-sync").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("making tables: %w\n%s", err, out)
		}
	}
	p, err := start("worker "+w.state, self, waiting, "--config-file", config)
	if err != nil {
		return nil, err
	}
	p.terminate = true
	// By its own name: the topic may have other workers.
	target := rpc.Target{Exchange: b.site.name, Topic: b.site.topic(waiting), Server: cmp.Or(w.host, "bench"), Version: "1.0"}
	client := rpc.NewClient(b.transport, target, rpc.ClientOptions{Timeout: callTime, AtLeastOnce: true})
	for {
		err := client.Call(ctx, b.caller, "list_providers", nil, nil)
		if err == nil {
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, errors.Join(err, p.stop())
		case <-time.After(50 * time.Millisecond):
		}
		if !errors.Is(err, rpc.ErrUndeliverable) {
			return nil, fmt.Errorf("first call of %s: %w", p.name, err)
		}
	}
}

// fill begins operations whose hooks wait for ever, and returns when all wait.
func (b *bench) fill(ctx context.Context, count int) error {
	if err := os.WriteFile(b.site.path("begun"), nil, 0o600); err != nil {
		return err
	}
	client := b.client(waiting)
	_, err := repeat(ctx, count, 64, func(ctx context.Context) error {
		return client.Call(ctx, b.caller, "protect", map[string]any{"plan": newPlan(onDisk, 1)}, nil)
	})
	if err != nil {
		return err
	}
	return b.begun(ctx, count)
}

// stalled is how long hooks may take to begin without any progress.
const stalled = 2 * time.Minute

// begun waits until so many hooks have begun.
func (b *bench) begun(ctx context.Context, count int) error {
	last, since := int64(-1), time.Now()
	for {
		f, err := os.Stat(b.site.path("begun"))
		if err != nil {
			return err
		}
		if f.Size() >= int64(count) {
			return nil
		}
		if f.Size() != last {
			last, since = f.Size(), time.Now()
		}
		if time.Since(since) > stalled {
			return fmt.Errorf("%d of %d hooks have begun, and none in %s", last, count, stalled)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d hooks have begun: %w", last, count, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}
