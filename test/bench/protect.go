// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/bank/filesystem"
	"github.com/karbor-project/karbor/pkg/resource"
)

// protectWorkers is the number of protects on their way at a time.
const protectWorkers = 16

// What the original takes for one protect, CPU milliseconds.
var quotedProtect = map[int][2]float64{1: {37, 40}, 50: {590, 620}}

// protecting measures protects with the no-op plugin from the call until the
// checkpoint is available in the bank.
func (b *bench) protecting(ctx context.Context) error {
	for _, provider := range b.site.providers() {
		if provider == archive {
			continue
		}
		where := "a bank on the disk"
		if provider == inMemory {
			where = "a bank in " + memoryFolder
		}
		b.table.heading(fmt.Sprintf("Protect until available: no-op plugin, %s, %d at a time", where, protectWorkers))
		for _, p := range []struct{ resources, protects int }{{1, b.size.protects}, {50, b.size.protects / 5}} {
			progress("protecting %d resources %d times into %s", p.resources, p.protects, where)
			if err := b.protectInto(ctx, provider, p.resources, p.protects); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) protectInto(ctx context.Context, provider string, resources, protects int) error {
	protect, err := b.protect("ours", provider, resources)
	if err != nil {
		return err
	}
	if _, err := repeat(ctx, protectWorkers, protectWorkers, protect); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	took, err := measure(ctx, b.ours.process, protects, protectWorkers, protect)
	if err != nil {
		return err
	}
	name := func(what string) string { return fmt.Sprintf("%d resources: %s", resources, what) }
	b.table.add(row{name: name("protects"), unit: "1/s", more: true, ours: took.rate})
	b.table.add(row{name: name("latency, median"), unit: "ms", ours: milliseconds(took.p50)})
	b.table.add(row{name: name("CPU for one"), unit: "ms", ours: milliseconds(took.cpu), quoted: quotedProtect[resources]})
	return nil
}

// protect makes one protect by a server. The bank itself tells when its
// checkpoint is available: asking the worker would cost it what is measured.
func (b *bench) protect(server, provider string, resources int) (func(context.Context) error, error) {
	plugin, err := filesystem.New(filesystem.Config{Path: b.site.bank(provider), Container: "karbor"}, nil)
	if err != nil {
		return nil, err
	}
	seen := checkpoint.NewCollection(bank.New(plugin, nil), provider, checkpoint.Options{})
	plan := newPlan(provider, resources)
	client := b.client(server)
	return func(ctx context.Context) error {
		var id string
		if err := client.Call(ctx, b.caller, "protect", map[string]any{"plan": plan}, &id); err != nil {
			return err
		}
		return available(ctx, seen, id)
	}, nil
}

// newPlan is a plan of volumes that nobody else has.
func newPlan(provider string, resources int) map[string]any {
	list := make([]map[string]any, resources)
	for i := range list {
		list[i] = map[string]any{"type": resource.Volume, "id": uuid.NewString(), "name": fmt.Sprintf("volume %d", i), "extra_info": nil}
	}
	return map[string]any{"id": uuid.NewString(), "name": "bench", "provider_id": provider, "project_id": project,
		"resources": list, "parameters": map[string]any{}}
}

// available waits for a checkpoint to become available.
func available(ctx context.Context, seen *checkpoint.Collection, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		cp, err := seen.Get(ctx, id)
		switch {
		case err != nil:
			return err
		case cp.Status() == checkpoint.Available:
			return nil
		case cp.Status() != checkpoint.Protecting:
			return fmt.Errorf("checkpoint %s is %s", id, cp.Status())
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("checkpoint %s is not available: %w", id, ctx.Err())
		}
	}
}
