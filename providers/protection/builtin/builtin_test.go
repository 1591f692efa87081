// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/karbor-project/karbor/pkg/config"
	"github.com/karbor-project/karbor/pkg/fault"
	"github.com/karbor-project/karbor/pkg/kubernetes"
	"github.com/karbor-project/karbor/pkg/kubernetes/client"
	"github.com/karbor-project/karbor/pkg/openstack"
	"github.com/karbor-project/karbor/pkg/resource"
	"github.com/karbor-project/karbor/providers/protection"
	"github.com/karbor-project/karbor/providers/protection/plugintest"
)

func build(t *testing.T, entry *protection.Entry, text string) protection.Plugin {
	t.Helper()
	file := filepath.Join(t.TempDir(), "provider.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadFile(file, entry.Options)
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := entry.Build(cfg, protection.Deps{Clients: openstack.New(openstack.Config{}, nil), Cluster: client.New(kubernetes.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

func TestEveryPlugin(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	for _, entry := range r.Entries() {
		t.Run(entry.Names[0], func(t *testing.T) {
			t.Parallel()
			for i, name := range entry.Names {
				if prefix := []string{"karbor-", protection.ClassPrefix}[min(i, 1)]; !strings.HasPrefix(name, prefix) {
					t.Errorf("names are %v", entry.Names)
				}
			}
			plugintest.Run(t, build(t, entry, ""))
		})
	}
}

func TestWrongObjectSizeIsReportedByTheFlow(t *testing.T) {
	t.Parallel()
	r := protection.NewRegistry()
	Register(r)
	entry, err := r.Lookup("karbor-image-protection-plugin")
	if err != nil {
		t.Fatal(err)
	}
	plugin := build(t, entry, "[image_backup_plugin]\nbackup_image_object_size = 1000\n")
	_, err = plugin.Operation(protection.Protect, resource.Resource{Type: resource.Image, ID: "i"})
	if !fault.Is(err, "InvalidParameterValue") {
		t.Errorf("got %v", err)
	}
}
