// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

var disk = resource.Resource{Type: resource.Volume, ID: "39bf1b00-ebb7-4ffb-9069-021fda85d377", Name: "disk"}

func plugin(f *fakeVault, transport http.RoundTripper) *Plugin {
	return New(Config{URL: f.url, Token: "secret", PollInterval: time.Millisecond}, transport)
}

// The conformance suite: types, schemas and kinds of operations.
func TestConformance(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugin(newFake(t), http.DefaultTransport))
}

// The conformance suite: killed, handed over, drained and cancelled at each call.
func TestSurvives(t *testing.T) {
	t.Parallel()
	plugintest.Survive(t, plugintest.Options{}, func(t testing.TB) *plugintest.World {
		f := newFake(t)
		return &plugintest.World{
			Service:  f,
			Resource: disk,
			Plugin:   func(p *plugintest.Process) protection.Plugin { return plugin(f, p.Transport(http.DefaultTransport)) },
			Parameters: map[protection.Kind]protection.Parameters{
				protection.Protect: {"tier": []byte(`"tape"`)},
				protection.Restore: {"restore_name": []byte(`"back"`)},
			},
		}
	})
}

// One flow after the other, with a harness.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	f, h, ctx := newFake(t), plugintest.New(t), context.Background()
	p := plugin(f, http.DefaultTransport)
	for _, kind := range []protection.Kind{protection.Protect, protection.Verify, protection.Restore} {
		h.State = &plugintest.State{}
		if err := h.Run(ctx, p, kind, h.Call(disk)); err != nil {
			t.Fatal(kind, err)
		}
	}
	if _, ok := h.NewResources.Get(disk.ID); !ok || len(f.things) != 2 {
		t.Errorf("Vault has %d things", len(f.things))
	}
	if err := h.Run(ctx, p, protection.Delete, h.Call(disk)); err != nil || len(f.things) != 1 {
		t.Errorf("Vault has %d things after the delete: %v", len(f.things), err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	f, h, ctx := newFake(t), plugintest.New(t), context.Background()
	p := plugin(f, http.DefaultTransport)
	if err := h.Run(ctx, p, protection.Protect, h.Call(disk, "tier", "paper")); !fault.Is(err, "InvalidInput") {
		t.Errorf("a wrong tier: %v", err)
	}
	f.broken = true
	err := h.Run(ctx, p, protection.Protect, h.Call(disk))
	if !fault.Is(err, "CreateResourceFailed") || !strings.Contains(err.Error(), "Vault could not copy the volume") {
		t.Errorf("a broken copy: %v", err)
	}
	if len(f.things) != 0 || h.Text(disk, "status") != "error" {
		t.Errorf("Vault has %d things, status %s", len(f.things), h.Text(disk, "status"))
	}
}

// A provider file names the plugin; one without a URL is refused.
func TestProviderFile(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	entry, err := r.Lookup("example-vault-protection-plugin")
	if err != nil {
		t.Fatal(err)
	}
	for text, works := range map[string]bool{"[vault_plugin]\nurl = http://vault\n": true, "": false} {
		file := filepath.Join(t.TempDir(), "provider.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.LoadFile(file, entry.Options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Build(cfg, protection.Deps{}); (err == nil) != works {
			t.Errorf("%q: %v", text, err)
		}
	}
}
