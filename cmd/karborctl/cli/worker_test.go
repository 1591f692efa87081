// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/karbor-project/karbor/cmd/karborctl/client"
	"github.com/karbor-project/karbor/manager"
	"github.com/karbor-project/karbor/manager/operation"
	"github.com/karbor-project/karbor/manager/service"
	"github.com/karbor-project/karbor/pkg/database"
	"github.com/karbor-project/karbor/pkg/journal/journaltest"
	"github.com/karbor-project/karbor/pkg/leaktest"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers"
	"github.com/karbor-project/karbor/providers/protectable"
	"github.com/karbor-project/karbor/rpc"
	"github.com/karbor-project/karbor/rpc/rpctest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	testTopic    = "karborctl-test"
	testProvider = "b766f37c-d011-4026-8228-28730d734a3f"
	// callTime is for calls that are answered; only one that is not takes it whole.
	callTime = 5 * time.Minute
)

// fakeVolumes is a cloud that lists one volume and has one for every id but missing.
type fakeVolumes struct{}

var _ protectable.Plugin = fakeVolumes{}

var theVolume = resource.Resource{Type: resource.Volume, ID: "7c1d9f52-2b7e-4f8e-8d0a-51f0c8e2a9b4", Name: "data", ExtraInfo: json.RawMessage(`{"az": "nova"}`)}

func (fakeVolumes) Type() string          { return resource.Volume }
func (fakeVolumes) ParentTypes() []string { return []string{resource.Server} }
func (fakeVolumes) List(context.Context, protectable.Parameters) ([]resource.Resource, error) {
	return []resource.Resource{theVolume}, nil
}
func (fakeVolumes) Show(_ context.Context, id string, _ protectable.Parameters) (*resource.Resource, error) {
	if id == missing {
		return nil, nil
	}
	found := theVolume
	found.ID = id
	return &found, nil
}
func (fakeVolumes) Dependents(context.Context, resource.Resource) ([]resource.Resource, error) {
	return []resource.Resource{theVolume}, nil
}

// fakeServers lets servers have volumes.
type fakeServers struct{ fakeVolumes }

func (fakeServers) Type() string          { return resource.Server }
func (fakeServers) ParentTypes() []string { return nil }

// managerEndpoints are those of a real manager with a no-op provider on a bank
// in a folder.
func managerEndpoints(t *testing.T) []rpc.Endpoint {
	t.Helper()
	return endpointsWith(t, service.Builtin(), "karbor-noop-protection-plugin")
}

// endpointsWith have the plugin of setup by that name in place of the no-op one.
func endpointsWith(t *testing.T, setup service.Setup, plugin string) []rpc.Endpoint {
	t.Helper()
	dir := t.TempDir()
	text := "[provider]\nname = No-Op\ndescription = none\nid = " + testProvider +
		"\nenabled = True\nbank = karbor-fs-bank-plugin\nplugin = " + plugin + "\n" +
		"[file_system_bank_plugin]\nfile_system_bank_path = " + filepath.Join(dir, "bank") + "\n"
	folder := filepath.Join(dir, "providers.d")
	for _, name := range []string{folder, filepath.Join(dir, "bank")} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "noop.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	loader := providers.Loader{Banks: setup.Banks, Plugins: setup.Plugins, Log: log}
	registry, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	db, err := database.Open(t.Context(), "", database.Options{StatePath: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	protectables := protectable.NewRegistry(protectable.Options{Log: log}, fakeServers{}, fakeVolumes{})
	engine := operation.New(operation.Config{Protectables: protectables, Records: db, Journal: journaltest.NewMemory(nil), Log: log})
	t.Cleanup(func() {
		engine.Stop(context.Background())
		if err := registry.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return manager.New(manager.Config{Providers: registry, Protectables: protectables, Operations: engine, Records: db, Log: log}).Endpoints()
}

// serve runs a worker with the endpoints.
func serve(t *testing.T, transport rpc.Transport, topic string, endpoints []rpc.Endpoint) {
	t.Helper()
	server, err := rpc.NewServer(transport, rpc.Target{Topic: topic, Server: "host"}, endpoints, rpc.ServerOptions{Failure: manager.Failure})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// tool runs karborctl against a broker in memory.
type tool struct {
	broker *rpctest.Broker
	env    map[string]string
	time   time.Duration
	// columns of the terminal that the standard error is; 0 is none.
	columns int
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// newTool has a worker with the endpoints; none means that there is no worker.
func newTool(t *testing.T, endpoints ...rpc.Endpoint) *tool {
	t.Helper()
	c := &tool{broker: rpctest.NewBroker(), env: map[string]string{}, time: callTime}
	if len(endpoints) > 0 {
		transport := c.broker.Transport()
		t.Cleanup(func() { _ = transport.Close(context.Background()) })
		serve(t, transport, testTopic, endpoints)
	}
	return c
}

// outcome is what an operator sees.
type outcome struct {
	code     int
	out, err string
}

func (c *tool) run(ctx context.Context, args ...string) outcome {
	return c.runWith(ctx, &lines{}, args...)
}

// size makes the standard error a terminal.
func (c *tool) size() (columns, rows int) { return c.columns, 24 }

func (c *tool) runWith(ctx context.Context, stderr *lines, args ...string) outcome {
	var out bytes.Buffer
	app := New("1.2.3", strings.NewReader(""), &out, stderr, func(name string) string { return c.env[name] })
	app.FirstPause = time.Millisecond
	app.Now = func() time.Time { return noon }
	if c.columns > 0 {
		app.Size = c.size
	}
	app.Connect = func(o client.Options) (*client.Client, error) {
		target := rpc.Target{Topic: testTopic, Server: o.Server}
		if o.Topic != "" {
			target.Topic = o.Topic
		}
		return client.New(c.broker.Transport(), target, c.time, "memory"), nil
	}
	code := app.Run(ctx, args)
	return outcome{code, out.String(), stderr.String()}
}

// must runs a command that is to succeed and returns what it printed.
func (c *tool) must(t *testing.T, args ...string) string {
	t.Helper()
	got := c.run(t.Context(), args...)
	if got.code != ExitOK {
		t.Fatalf("karborctl %s: code %d: %s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

// lines collects the standard error and calls seen with each write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	seen func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen != nil {
		l.seen(string(p))
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
