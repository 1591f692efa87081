// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
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
