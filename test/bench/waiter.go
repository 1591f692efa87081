// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/poll"
)

// waiting is the command that makes this program the service with one more
// plugin, and the name of its topic.
const waiting = "waiting"

// waitPlugin is what provider files call that plugin.
const waitPlugin = "bench-waiting-plugin"

// begunFile is the environment variable with the path of a file to which each
// hook that begins adds a byte.
const begunFile = "BENCH_BEGUN"

func serveWaiting(args []string) int {
	setup := service.Builtin()
	setup.Plugins.Register([]string{waitPlugin}, nil, func(*config.Config, protection.Deps) (protection.Plugin, error) {
		return &waiter{batch: poll.NewBatch(poll.BatchOptions{Pages: 1000}), volumes: map[string]poll.Status{}}, nil
	})
	return service.Main(waiting, args, setup, os.Stdout, os.Stderr)
}

// waiter protects volumes whose backups never get done.
type waiter struct {
	batch *poll.Batch

	mu      sync.Mutex
	volumes map[string]poll.Status
}

func (*waiter) Types() []string { return []string{resource.Volume} }

func (*waiter) Schemas(string) protection.Schemas {
	empty := json.RawMessage(`{}`)
	return protection.Schemas{Options: empty, Restore: empty, SavedInfo: empty}
}

func (w *waiter) Operation(protection.Kind, resource.Resource) (*protection.Operation, error) {
	return &protection.Operation{Main: w.wait}, nil
}

func (w *waiter) wait(ctx context.Context, c *protection.Call) error {
	if err := begun(); err != nil {
		return err
	}
	w.mu.Lock()
	w.volumes[c.Resource.ID] = poll.Status{Text: "creating", Percent: 1}
	w.mu.Unlock()
	return w.batch.Until(ctx, poll.Key{Service: "bench", Kind: "volumes"}, poll.Wait{
		ID: c.Resource.ID, Source: w, Statuses: poll.Statuses{Ignore: []string{"creating"}},
	})
}

func begun() error {
	f, err := os.OpenFile(os.Getenv(begunFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("note that a hook has begun: %w", err)
	}
	_, err = f.WriteString("+")
	return errors.Join(err, f.Close())
}

// listed is how many volumes one page has, as in OpenStack's services.
const listed = 1000

// Page gives the volumes in the order of their ids.
func (w *waiter) Page(_ context.Context, marker string) (map[string]poll.Status, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, _ := strconv.Atoi(marker) // "" is the first page
	ids := slices.Sorted(maps.Keys(w.volumes))
	page := map[string]poll.Status{}
	for _, id := range ids[min(first, len(ids)):min(first+listed, len(ids))] {
		page[id] = w.volumes[id]
	}
	if first+listed >= len(ids) {
		return page, "", nil
	}
	return page, strconv.Itoa(first + listed), nil
}

func (w *waiter) Show(_ context.Context, id string) (poll.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.volumes[id], nil
}
