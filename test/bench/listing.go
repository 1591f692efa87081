// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/karbor-project/karbor/bank"
	"github.com/karbor-project/karbor/bank/banktest"
	"github.com/karbor-project/karbor/bank/checkpoint"
	"github.com/karbor-project/karbor/pkg/resource"
)

// listings is how often each listing is repeated; the median counts.
const listings = 5

// listing measures list_checkpoints of a bank with many of them, beside a loop in
// Python over the same files.
func (b *bench) listing(ctx context.Context) error {
	count := b.size.checkpoints
	progress("listing %d checkpoints", count)
	if err := b.fillArchive(ctx, count); err != nil {
		return fmt.Errorf("fill a bank: %w", err)
	}
	client := b.client("ours")
	list := func(want int, arguments map[string]any) (load, error) {
		arguments["provider_id"] = archive
		return measure(ctx, b.ours.process, listings, 1, func(ctx context.Context) error {
			var found []json.RawMessage
			if err := client.Call(ctx, b.caller, "list_checkpoints", arguments, &found); err != nil {
				return err
			}
			if len(found) != want {
				return fmt.Errorf("%d checkpoints instead of %d", len(found), want)
			}
			return nil
		})
	}
	all, err := list(count, map[string]any{})
	if err != nil {
		return fmt.Errorf("listing all: %w", err)
	}
	newest, err := list(10, map[string]any{"limit": 10, "sort_dirs": []string{"desc"}})
	if err != nil {
		return fmt.Errorf("listing the newest: %w", err)
	}
	var peer load
	if !b.size.alone {
		if peer, err = b.listInPython(ctx, count); err != nil {
			return err
		}
	}
	b.table.heading(fmt.Sprintf("list_checkpoints of %d checkpoints, bank in a folder, median of %d", count, listings))
	for _, l := range []struct {
		name string
		took load
	}{{"all", all}, {"the newest 10", newest}} {
		b.table.add(row{name: l.name + ": time", unit: "ms", ours: milliseconds(l.took.p50), peer: milliseconds(peer.p50)})
		b.table.add(row{name: l.name + ": CPU time", unit: "ms", ours: milliseconds(l.took.cpu), peer: milliseconds(peer.cpu)})
	}
	return nil
}

// fillArchive makes checkpoints in memory and writes them out: a bank would make
// sure of each file that it is on the disk.
func (b *bench) fillArchive(ctx context.Context, count int) error {
	memory := banktest.NewMemory()
	now := time.Now().Add(-time.Duration(count) * time.Hour)
	made := checkpoint.NewCollection(bank.New(memory, nil), archive, checkpoint.Options{
		Clock: func() time.Time { now = now.Add(time.Hour); return now },
	})
	plan := checkpoint.Plan{ID: "fc1b1c8a-6c0b-4d0d-8f6b-2f1c0b8d6d3a", Name: "nightly", ProviderID: archive, ProjectID: project,
		Resources: []resource.Resource{{Type: resource.Server, ID: "5d0ec8f2-7f5c-4bc4-a0c8-7a6f2d0b5c11", Name: "web-1"}}}
	for range count {
		if _, err := made.Create(ctx, checkpoint.CreateOptions{Plan: plan, Status: checkpoint.Available}); err != nil {
			return err
		}
	}
	keys, err := memory.List(ctx, bank.ListOptions{})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := copyOut(ctx, memory, key, filepath.Join(b.site.bank(archive), "karbor", filepath.FromSlash(key))); err != nil {
			return fmt.Errorf("writing %s: %w", key, err)
		}
	}
	return nil
}

func copyOut(ctx context.Context, from bank.Plugin, key, path string) error {
	object, err := from.Get(ctx, key)
	if err != nil {
		return err
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}

// listInPython reads the same files in Python, without RPC.
func (b *bench) listInPython(ctx context.Context, count int) (load, error) {
	var whole, cpu []time.Duration
	for range listings {
		seconds, err := printed(ctx, "test/bench/python/list_bank.py", filepath.Join(b.site.bank(archive), "karbor"), archive, strconv.Itoa(count))
		if err != nil {
			return load{}, err
		}
		if len(seconds) != 2 {
			return load{}, fmt.Errorf("list_bank.py printed %v", seconds)
		}
		whole = append(whole, time.Duration(seconds[0]*float64(time.Second)))
		cpu = append(cpu, time.Duration(seconds[1]*float64(time.Second)))
	}
	return load{p50: median(whole), cpu: median(cpu)}, nil
}

// printed runs a Python program that prints numbers.
func printed(ctx context.Context, program string, arguments ...string) ([]float64, error) {
	var complaint bytes.Buffer
	command := exec.CommandContext(ctx, python, append([]string{program}, arguments...)...)
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w\n%s", program, err, complaint.String())
	}
	var numbers []float64
	for _, field := range strings.Fields(string(output)) {
		number, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, fmt.Errorf("running %s: %w", program, err)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}
