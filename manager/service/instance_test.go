// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/journal"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

// failpoints are called with the names of the steps of a start, before and after.
type failpoints func(point string)

func (f failpoints) around(step string, do func() error) error {
	f("before " + step)
	defer f("after " + step)
	return do()
}

type watchedTransport struct {
	rpc.Transport
	failpoints
}

func (w watchedTransport) Listen(ctx context.Context, target rpc.Target, o rpc.ListenOptions, receive func(rpc.Incoming)) (l rpc.Listener, err error) {
	err = w.around("listening", func() error {
		l, err = w.Transport.Listen(ctx, target, o, receive)
		return err
	})
	return l, err
}

type watchedJournal struct {
	journal.Journal
	failpoints
}

func (w watchedJournal) Announce(ctx context.Context, o journal.Owner, hold time.Duration) error {
	return w.around("announcing", func() error { return w.Journal.Announce(ctx, o, hold) })
}

// An instance whose start is cancelled at any of its steps can be stopped, and
// another one serves beside and after it.
func TestAStartIsCancelledAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"before anything", "before announcing", "after announcing", "before listening", "after listening"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			broker := rpctest.NewBroker()
			cfg := memoryConfig(t)
			serves := func() *instance {
				i := newMemoryInstance(t, cfg, broker, func(string) {})
				if err := i.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				return i
			}
			old := serves()
			ctx, cancel := context.WithCancel(t.Context())
			var once sync.Once
			reached := false
			i := newMemoryInstance(t, cfg, broker, func(at string) {
				if at == point {
					once.Do(func() { reached = true; cancel() })
				}
			})
			if point == "before anything" {
				reached = true
				cancel()
			}
			err := i.start(ctx)
			i.stop(t.Context())
			if !reached || ctx.Err() == nil {
				t.Fatalf("the start never came to this step: %v", err)
			}
			answers(t, broker, cfg)
			old.stop(t.Context())
			last := serves()
			answers(t, broker, cfg)
			last.stop(t.Context())
		})
	}
}

func memoryConfig(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	cfg, err := loadConfig([]string{"--config-file", writeFile(t, fmt.Sprintf(
		"[DEFAULT]\nhost = memory\ntransport_url = rabbit://127.0.0.1:1/\nrpc_ping_enabled = true\nprovider_config_dir = %s\nstate_path = %s\n", dir, dir))})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newMemoryInstance(t *testing.T, cfg *config.Config, broker *rpctest.Broker, at failpoints) *instance {
	t.Helper()
	setup := Builtin()
	setup.Wrap.Transport = func(rpc.Transport) rpc.Transport { return watchedTransport{broker.Transport(), at} }
	setup.Wrap.Journal = func(j journal.Journal) journal.Journal { return watchedJournal{j, at} }
	i, err := newInstance(t.Context(), cfg, setup, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// answers expects a call to be answered.
func answers(t *testing.T, broker *rpctest.Broker, cfg *config.Config) {
	t.Helper()
	transport := broker.Transport()
	defer func() {
		if err := transport.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	target := rpc.Target{Exchange: cfg.String("DEFAULT", "control_exchange"), Topic: cfg.String("DEFAULT", "protection_topic")}
	var pong string
	err := rpc.NewClient(transport, target, rpc.ClientOptions{}).Call(t.Context(), nil, "oslo_rpc_server_ping", nil, &pong)
	if err != nil || pong != "pong" {
		t.Errorf("nobody serves: %q, %v", pong, err)
	}
}
